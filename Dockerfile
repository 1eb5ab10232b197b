# One static binary, no shell, not root. The freezer and prepare-volume pods run
# the same image. What it is built with can be pinned by digest:
# --build-arg GO_IMAGE=golang:1.26@sha256:…
ARG GO_IMAGE=golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY api api
COPY cmd cmd
COPY snapshot snapshot
COPY restore restore
COPY schedule schedule
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /cht-backup ./cmd/cht-backup

FROM scratch
COPY --from=build /cht-backup /cht-backup
USER 65532:65532
ENTRYPOINT ["/cht-backup"]
