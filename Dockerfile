# One static binary, no shell, not root. The freezer and prepare-volume pods run
# the same image.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
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
