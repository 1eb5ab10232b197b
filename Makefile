# Everything a fresh machine needs is installed by the targets themselves: Go
# modules by go, Debian packages by the testbed. See README.md.
export CGO_ENABLED = 0
export GOFLAGS = -buildvcs=false -trimpath

# The tests run in their own folders: a relative path to an image must not depend
# on that.
ifneq ($(wildcard $(COUCHDB_IMAGE)),)
override COUCHDB_IMAGE := $(abspath $(COUCHDB_IMAGE))
endif
export COUCHDB_IMAGE

BIN := $(CURDIR)/bin
E2E_TIMEOUT ?= 75m

.PHONY: all test unit mutants fuzz e2e crash load load-quick demo bench dist lint generate check-generated build cluster-up cluster-down verify-modules vulncheck

all: build

build:
	go build -o $(BIN)/ ./cmd/...

## test: all tests, from nothing. Ends with go test's own lines.
## The cluster comes before the unit tests: some of them need the Debian packages
## that it installs.
test: verify-modules check-generated lint cluster-up unit mutants load-quick crash e2e

## verify-modules: what was downloaded is what go.sum says, also of what lay here before.
verify-modules:
	go mod verify
	cd integration/checks && go mod verify
	cd integration/load/lines && go mod verify
	cd integration/testbed && go mod verify

## vulncheck: known vulnerabilities in what the programs call. It reads Go's database from
## the net; VULN_DB=file:///… for a copy of it. Not a part of test, which needs no net but
## for modules.
vulncheck: $(BIN)/govulncheck
	$(BIN)/govulncheck $(if $(VULN_DB),-db $(VULN_DB)) ./cmd/...

# cmd/node and cmd/coredns are a page each around all of Kubernetes, which vet and
# the linter would analyse with them (minutes, for 61 lines); the build checks
# them. Folders, since golangci-lint takes import paths for folders and finds none.
TESTBED_PACKAGES = $$(go list -f '{{.Dir}}' ./... | grep -v -e /cmd/node$$ -e /cmd/coredns$$)

unit: $(BIN)/validate-krew-manifest
	go vet ./...
	go test ./api/... ./snapshot/... ./restore/... ./schedule/... ./cmd/... ./integration/compose/... ./integration/couchdb/... ./integration/chart/... ./integration/cht/... ./integration/demo/... ./integration/bench/... ./integration/ec2/... ./integration/crash/... ./integration/dist/... ./integration/hollow/... ./integration/load/... ./integration/mutants/... ./integration/relay/...
	cd integration/checks && go vet ./... && go test ./...
	cd integration/load/lines && go vet ./... && go test ./...
	cd integration/testbed && go vet $(TESTBED_PACKAGES) && go test $(TESTBED_PACKAGES)

## mutants: takes one safety at a time out of the code, and demands that the test named
## for it fails (MUTANTS=… is a regular expression of their names).
mutants:
	go run ./integration/mutants -run '$(MUTANTS)'

## fuzz: every fuzz target for FUZZTIME, one after the other (FUZZ=FuzzNext for one). What
## one finds it leaves in its package's testdata/fuzz, where all later tests try it again.
FUZZTIME ?= 1m
fuzz:
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' snapshot restore schedule | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file | grep -x '$(or $(FUZZ),.*)' || true); do \
			echo "$$target of $$(dirname $$file)"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 2 ./$$(dirname $$file); done; done

## e2e: the end-to-end suite on a real Kubernetes, four tests at a time: they wait more
## than they work (E2E_KUBECONFIG=… for another
## cluster, COUCHDB_IMAGE=… for a real CouchDB).
e2e: cluster-up
	go test -count=1 -p 1 -parallel 4 -timeout $(E2E_TIMEOUT) $(E2E_FLAGS) ./integration/harness/... ./integration/e2e/...

## load: a week of hourly backups of 20 instances in some 40 minutes, on a control plane of
## its own; fails when a backup is lost or a line rises. Draws docs/images (LOAD_FLAGS=…).
load:
	mkdir -p $(BIN) docs/images
	go run ./integration/load --out $(BIN)/load.csv $(LOAD_FLAGS)
	cd integration/load/lines && go run . --images $(CURDIR)/docs/images $(BIN)/load.csv

## load-quick: some hours of it, which are too few for lines: no backup lost, none twice
## when the leader is killed, and no object more than the kept ones account for.
load-quick:
	mkdir -p $(BIN)
	go run ./integration/load --instances 2 --hours 12 --kills 1 --pace 0 --keep-hourly 3 --keep-daily 1 --out $(BIN)/load-quick.csv

## crash: kill the controller and what it works with at its side effects, and look from
## outside whether what is promised holds: make crash SEED=… N=… repeats a run.
crash: cluster-up
	go run ./integration/crash --seed $(or $(SEED),0) --n $(or $(N),30)

## demo: back up a CHT under load, lose it, restore it elsewhere, verify.
demo: cluster-up
	go run ./integration/demo

bench: cluster-up
	go run ./integration/bench

cluster-up: $(BIN)/testbed
	@if [ -z "$$E2E_KUBECONFIG" ]; then $(BIN)/testbed up; fi

cluster-down: $(BIN)/testbed
	$(BIN)/testbed down

.PHONY: $(BIN)/testbed
$(BIN)/testbed:
	cd integration/testbed && go build -o $@ ./cmd/testbed

# Charts whose README.md is made from README.md.gotmpl and values.yaml. Each by itself:
# charts/cht has the other one as a dependency in its own folder, by a link.
VALUES_REFERENCES = $(foreach c,$(notdir $(wildcard charts/*)),$(if $(and $(wildcard charts/$(c)/Chart.yaml),$(wildcard charts/$(c)/README.md.gotmpl)),$(c)))

## dist: archives of the kubectl plugin, their sums and krew's manifest in dist/:
## make dist VERSION=v0.1.0 BASE_URL=https://HOST/PATH (PLATFORMS=native for one).
dist: $(BIN)/validate-krew-manifest
	go run ./integration/dist --version "$(VERSION)" --base-url "$(BASE_URL)" --homepage "$(HOMEPAGE)" $(if $(PLATFORMS),--platforms "$(PLATFORMS)")
	@if [ -n "$(BASE_URL)" ]; then $(BIN)/validate-krew-manifest -skip-install -manifest dist/cht.yaml; fi

generate: $(BIN)/controller-gen $(BIN)/crd-ref-docs $(BIN)/helm-docs
	$(BIN)/controller-gen object paths=./api/...
	$(BIN)/controller-gen crd paths=./api/... output:crd:dir=charts/cht-backup/crds
	$(BIN)/controller-gen rbac:roleName=cht-backup paths=./cmd/cht-backup output:rbac:dir=charts/cht-backup/files
	$(BIN)/crd-ref-docs --log-level=ERROR --source-path=api/v1alpha1 --config=.ci/api-reference/config.yaml --templates-dir=.ci/api-reference \
		--renderer=markdown --output-path=docs/reference/api.md
	go run ./integration/imports > docs/reference/packages.md
	UPDATE_REFERENCE=1 go test -count=1 -run 'TestReferenceIsUpToDate$$' ./cmd/kubectl-cht/internal/command
	for chart in $(VALUES_REFERENCES); do \
		(cd charts/$$chart && $(BIN)/helm-docs --log-level=warning --sort-values-order=file --skip-version-footer) || exit 1; done

## check-generated fails when the committed output is not what the code makes.
check-generated: generate
	git diff --exit-code -- api charts/cht-backup/crds charts/cht-backup/files docs/reference charts/cht-backup/README.md charts/cht/README.md
	@test -z "$$(git ls-files --others --exclude-standard -- docs/reference $(VALUES_REFERENCES:%=charts/%/README.md))" || { echo "generated and not committed: docs/reference, charts/*/README.md"; exit 1; }

lint: $(BIN)/golangci-lint lint-charts
	@test -z "$$(gofmt -l api cmd snapshot restore schedule integration)" || { gofmt -l api cmd snapshot restore schedule integration; exit 1; }
	$(BIN)/golangci-lint run ./...
	cd integration/checks && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...
	cd integration/load/lines && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...
	cd integration/testbed && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml $(TESTBED_PACKAGES)

## lint-charts: kube-score on the charts as rendered for every platform. What it finds
## and is meant stands, with the reason, in integration/chart/score.
.PHONY: lint-charts
lint-charts: $(BIN)/kube-score
	go run ./integration/chart/cmd/score-charts $(BIN)/kube-score

$(BIN)/%: .ci/tools/%/go.mod .ci/tools/%/go.sum
	cd .ci/tools/$* && go build -o $@ $$(sed -n "s/^tool //p" go.mod)
