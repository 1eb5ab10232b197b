package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/bench/worker"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

// role in the environment makes the program a worker.
const role = "BENCH_VERIFY_WORKER"

// The kinds of work.
const (
	takeFingerprint = "fingerprint"
	verifyFull      = "verify"
)

// order is what a worker is told.
type order struct {
	Work           string
	Nodes, URLs    []string // Erlang names and addresses
	User, Password string
	Databases      []string
	// For a verification.
	Record catalog.Record
	Maps   []couchdb.ShardMap
	Stuck  time.Duration
}

// answer is what it says.
type answer struct {
	Print        *fingerprint.Print `json:",omitempty"`
	Verification api.Verification
	// Refused is the verdict on what was verified, empty if all was right.
	Refused string
	Took    time.Duration
	// PeakKB is the peak of the process's resident memory in KiB.
	PeakKB int64
}

// child does the work of an order in a process of its own.
func child(ctx context.Context, o order, say io.Writer) (a answer, err error) {
	if err := worker.Run(ctx, role, o, &a, say); err != nil {
		return a, fmt.Errorf("%s: %w", o.Work, err)
	}
	return a, nil
}

// work is what the child runs.
func work(ctx context.Context, in io.Reader, out, say io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	var clients []*couchdb.Client
	for _, url := range o.URLs {
		clients = append(clients, couchdb.New(url, o.User, o.Password, http.DefaultTransport))
	}
	var a answer
	var err error
	began := time.Now()
	switch o.Work {
	case takeFingerprint:
		a.Print, err = take(ctx, clients[0], o.Databases)
	case verifyFull:
		job := verify.Job{Cluster: verify.Cluster{Names: o.Nodes, Services: o.Nodes, Clients: clients}, Record: o.Record, Maps: o.Maps,
			Level: api.VerifyFull, Stuck: o.Stuck, Report: func(v api.Verification, doing string) {
				if p := v.Progress; p != nil {
					_, _ = fmt.Fprintf(say, "  %s: %d of %d, %d/s\n", doing, p.Done, p.Total, p.DocumentsPerSecond)
				}
			}}
		a.Verification, err = job.Run(ctx)
		if err != nil && len(a.Verification.Problems) > 0 {
			a.Refused, err = err.Error(), nil
		}
	default:
		err = fmt.Errorf("no such work: %q", o.Work)
	}
	if err != nil {
		return err
	}
	a.Took = time.Since(began)
	if a.PeakKB, err = worker.OwnPeak(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// take takes a fingerprint as a backup does, with nothing written meanwhile.
func take(ctx context.Context, c *couchdb.Client, databases []string) (*fingerprint.Print, error) {
	p := &fingerprint.Print{Level: api.FingerprintFull, Databases: map[string]*fingerprint.Database{}}
	infos, err := c.Infos(ctx, databases)
	if err != nil {
		return nil, err
	}
	counts := map[string]couchdb.Counts{}
	for name, info := range infos {
		p.Databases[name], counts[name] = fingerprint.Begin(info), info.Counts
	}
	if p.Samples, err = fingerprint.Choose(ctx, c, counts); err != nil {
		return nil, err
	}
	digest := &fingerprint.Digest{}
	for name, d := range p.Databases {
		if err := d.Take(ctx, c, name, digest, fingerprint.MostExcluded); err != nil {
			return nil, err
		}
	}
	return p, nil
}
