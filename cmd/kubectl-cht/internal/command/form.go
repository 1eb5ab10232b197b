package command

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// source parses --from.
func source(from, uid string) (api.BackupReference, error) {
	namespace, name, found := strings.Cut(from, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return api.BackupReference{}, exit.Errorf(exit.Usage, "--from %q does not name a backup; give NAMESPACE/NAME as `kubectl cht list -A` shows them", from)
	}
	if !catalog.IsComposeNamespace(namespace) {
		if err := checkNamespace("--from", namespace); err != nil {
			return api.BackupReference{}, err
		}
	} else if err := catalog.CheckIdentity(namespace, name, "any"); err != nil {
		return api.BackupReference{}, exit.Errorf(exit.Usage, "--from: %w", err)
	}
	if err := checkName("backup", name); err != nil {
		return api.BackupReference{}, err
	}
	return api.BackupReference{Namespace: namespace, Name: name, UID: types.UID(uid)}, nil
}

func checkNamespace(flag, namespace string) error {
	if namespace == "" {
		return exit.Errorf(exit.Usage, "%s is missing; give the name of a namespace", flag)
	}
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return exit.Errorf(exit.Usage, "%s: %q cannot be a namespace: %s; choose another", flag, namespace, strings.Join(problems, "; "))
	}
	return nil
}

// reserved are namespaces that the isolation of a restore would break.
var reserved = []string{"kube-system", "kube-public", "kube-node-lease"}

// running tells whether the restore goes into an instance that is there.
func (f *restoreFlags) running() bool { return f.inPlace || f.given("database") }

// touches tells whether the restore stops or replaces something that runs, so
// that its plan must be agreed to.
func (f *restoreFlags) touches() bool { return f.inPlace || f.replace }

// asks tells whether somebody must be there to agree.
func (f *restoreFlags) asks() bool { return f.touches() && !f.yes && !f.dryRun }

var verifyLevels = []string{string(api.VerifyQuick), string(api.VerifySample), string(api.VerifyFull)}

// restoreFor makes the object, or says which input is wrong. It asks no cluster.
func (f *restoreFlags) restoreFor(systemNamespace string, in io.Reader) (*api.Restore, error) {
	from, err := source(f.from, f.uid)
	if err != nil {
		return nil, err
	}
	if err := f.conflicts(); err != nil {
		return nil, err
	}
	if f.to == "" && f.running() {
		f.to = from.Namespace
	}
	if err := checkNamespace("--to", f.to); err != nil {
		return nil, err
	}
	switch {
	case f.to == systemNamespace || slices.Contains(reserved, f.to):
		return nil, exit.Errorf(exit.Usage, "--to %s is a namespace of the cluster's own; a restore there would cut it off, choose another", f.to)
	case f.inPlace && f.to != from.Namespace:
		return nil, exit.Errorf(exit.Usage, "--to %s is not the namespace of backup %s: in place only an instance's own backup is restored; leave --to out, or leave --in-place out to restore into an empty namespace", f.to, f.from)
	}
	if err := checkName("restore", f.name); err != nil {
		return nil, err
	}
	if err := between("--step-timeout", f.stepTimeout, time.Second, 24*time.Hour); err != nil {
		return nil, err
	}
	verify, err := oneOf("--verify", f.verify, verifyLevels)
	if err != nil {
		return nil, err
	}
	data, err := oneOf("--data-from", f.dataFrom, dataSources)
	if err != nil {
		return nil, err
	}
	restore := &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.to, Name: f.name},
		Spec: api.RestoreSpec{Source: from, GoLive: f.goLive, Scope: api.ScopeInstance, Credentials: api.CredentialsKeep, DataFrom: api.DataFrom(data),
			Verify: api.VerificationLevel(verify), PlanOnly: f.dryRun || f.touches(), StepTimeout: metav1.Duration{Duration: f.stepTimeout}},
	}
	if err := f.particulars(&restore.Spec); err != nil {
		return nil, err
	}
	if restore.Spec.Remap, err = f.remaps.remap(in); err != nil {
		return nil, err
	}
	if restore.Spec.EBS, err = f.ebs.spec(); err != nil {
		return nil, err
	}
	if err := f.checkIngress(restore.Spec.Remap); err != nil {
		return nil, err
	}
	return restore, f.check()
}

// particulars are those of one way to restore.
func (f *restoreFlags) particulars(spec *api.RestoreSpec) error {
	if f.inPlace {
		spec.InPlace = &api.InPlace{SafetyBackup: api.SafetyBackupRequired}
		if f.noSafetyBackup {
			spec.InPlace.SafetyBackup = api.SafetyBackupSkip
		}
	}
	if f.given("database") {
		if err := checkDatabase("--database", f.database, databaseName); err != nil {
			return err
		}
		if f.given("database-as") {
			if err := checkDatabase("--database-as", f.as, newDatabaseName); err != nil {
				return err
			}
		}
		spec.Database = &api.DatabaseRestore{Name: f.database, As: f.as, Replace: f.replace}
	}
	if f.given("ttl") {
		if err := between("--ttl", f.ttl, time.Second, 8760*time.Hour); err != nil {
			return err
		}
		spec.TimeToLive = &metav1.Duration{Duration: f.ttl}
	}
	if f.couchDBOnly {
		spec.Scope = api.ScopeCouchDB
	}
	if f.rotate {
		spec.Credentials = api.CredentialsRotate
	}
	return nil
}

// The names that the API takes.
var (
	databaseName    = regexp.MustCompile(`^[a-z_][a-z0-9_$()+/-]*$`)
	newDatabaseName = regexp.MustCompile(`^[a-z][a-z0-9_$()+/-]*$`)
)

func checkDatabase(flag, name string, form *regexp.Regexp) error {
	if len(name) > 238 || !form.MatchString(name) {
		return exit.Errorf(exit.Usage, "%s %q cannot be the name of a database: up to 238 lower case letters, digits and _ $ ( ) + - /, beginning with a letter; choose another", flag, name)
	}
	return nil
}

// conflicts refuses flags that exclude each other, or mean nothing without
// another. The API server would do so too, but only once a namespace is made.
func (f *restoreFlags) conflicts() error {
	database := f.given("database")
	var live []string // ways to restore into an instance that is, or becomes, live
	for _, way := range []struct {
		given bool
		flag  string
	}{{f.inPlace, "--in-place"}, {database, "--database"}, {f.goLive, "--go-live"}} {
		if way.given {
			live = append(live, way.flag)
		}
	}
	if len(live) > 1 {
		return exit.Errorf(exit.Usage, "%s exclude each other: in place is live by itself, and one database goes into an instance that runs; choose one", strings.Join(live, " and "))
	}
	for _, rule := range []struct {
		broken bool
		says   string
	}{
		{f.given("ttl") && len(live) > 0, fmt.Sprintf("--ttl is for clones: an instance that is live is not removed by a clock; leave --ttl or %s out", strings.Join(live, ""))},
		{f.couchDBOnly && len(live) > 0, fmt.Sprintf("--couchdb-only is for clones: an instance that is live needs all components; leave --couchdb-only or %s out", strings.Join(live, ""))},
		{f.rotate && database, "--rotate-credentials has no meaning with --database: the running instance keeps its own; leave it out"},
		{f.noSafetyBackup && !f.inPlace, "--no-safety-backup has no meaning without --in-place: nothing else replaces an instance; leave it out"},
		{f.given("database-as") && !database, "--database-as names the restored database; give --database too, or leave it out"},
		{f.replace && !database, "--replace replaces a database; give --database too"},
		{f.replace && f.given("database-as") && f.as != f.database, fmt.Sprintf("--replace puts the database back under its own name; leave --database-as %s out", f.as)},
		{f.replace && strings.HasPrefix(f.database, "_"), fmt.Sprintf("%s is CouchDB's own and cannot be replaced while it runs; restore it under another name (--database-as without --replace), or restore in place (--in-place)", f.database)},
		{f.given("create-namespace") && f.createNamespace && (f.inPlace || database), "--create-namespace has no meaning here: the instance runs in a namespace that is there; leave it out"},
		{f.dryRun && (f.noWait || !f.wait), "--dry-run waits for the plan; leave --no-wait out"},
		{f.asks() && f.remaps.file == "-", "--remap - takes stdin, so that nobody can be asked; put the remap into a file, or give --yes"},
	} {
		if rule.broken {
			return exit.Errorf(exit.Usage, "%s", rule.says)
		}
	}
	return nil
}

// checkIngress refuses what the controller would refuse later.
func (f *restoreFlags) checkIngress(r *api.Remap) error {
	switch {
	case r == nil || r.Ingress == nil:
		return nil
	case f.given("database"):
		return exit.Errorf(exit.Usage, "one database brings no ingress along; leave --ingress-host and --ingress-class (spec.remap.ingress) out")
	case f.inPlace:
		return exit.Errorf(exit.Usage, "in place the ingress stays as it is; leave --ingress-host and --ingress-class (spec.remap.ingress) out, and change the ingress itself")
	case r.Ingress.Host == "" && !f.goLive:
		return exit.Errorf(exit.Usage, "a clone gets an ingress only with a host of its own; give --ingress-host too, or leave --ingress-class out")
	}
	return nil
}
