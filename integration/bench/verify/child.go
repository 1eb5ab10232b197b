package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
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
func child(ctx context.Context, o order, say io.Writer) (answer, error) {
	var a answer
	in, err := json.Marshal(o)
	if err != nil {
		return a, err
	}
	exe, err := os.Executable()
	if err != nil {
		return a, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, say
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("%s: %w", o.Work, err)
	}
	return a, json.Unmarshal(out.Bytes(), &a)
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
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if a.PeakKB, err = peak(string(status)); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// peak reads the most memory that was ever resident, in KiB. It is asked for from
// within: what wait4 tells of a child counts its parent's pages too.
func peak(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		}
	}
	return 0, errors.New("no VmHWM in /proc/self/status")
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
