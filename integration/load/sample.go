package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kinds whose objects are counted. Events are not: the API server drops them after an
// hour by its own clock.
var kinds = []schema.GroupVersionKind{
	{Group: "backup.communityhealthtoolkit.org", Version: "v1alpha1", Kind: "Backup"},
	{Group: "backup.communityhealthtoolkit.org", Version: "v1alpha1", Kind: "Restore"},
	{Group: "snapshot.storage.k8s.io", Version: "v1", Kind: "VolumeSnapshot"},
	{Group: "snapshot.storage.k8s.io", Version: "v1", Kind: "VolumeSnapshotContent"},
	{Version: "v1", Kind: "Secret"},
	{Version: "v1", Kind: "ConfigMap"},
	{Version: "v1", Kind: "Pod"},
	{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
}

// sample is what there is at the end of an hour.
type sample struct {
	hour    int
	leader  string // name of the process
	memory  memory
	files   uint64
	standby memory
	watches uint64
	objects []uint64 // of kinds
	backups uint64   // that are kept, as the ledger knows them
	bucket  uint64   // objects
	bytes   uint64   // in it
}

// look takes a sample.
func (w *world) look(ctx context.Context, hour int) (s sample, err error) {
	s.hour = hour
	leader, err := w.leader(ctx)
	if err != nil {
		return s, err
	}
	s.leader = leader.name
	if s.memory, err = leader.memory(ctx); err != nil {
		return s, err
	}
	if s.files, err = leader.files(); err != nil {
		return s, err
	}
	for _, c := range w.controllers {
		if c != leader {
			if s.standby, err = c.memory(ctx); err != nil {
				return s, err
			}
		}
	}
	if s.watches, err = watches(ctx, w.c.Config); err != nil {
		return s, err
	}
	for _, kind := range kinds {
		n, err := count(ctx, w.client, kind)
		if err != nil {
			return s, err
		}
		s.objects = append(s.objects, n)
	}
	s.bucket, s.bytes, err = files(w.bucket())
	return s, err
}

// perBackup is how many of a kind a backup that is kept has; of all others there are
// always as many.
var perBackup = map[string]int64{"Backup": 1, "VolumeSnapshot": 1, "VolumeSnapshotContent": 1, "Secret": 1, bucketObjects: 2}

const bucketObjects = "objects in the bucket"

// counts are the numbers that can be told exactly.
func (s sample) counts() map[string]uint64 {
	all := map[string]uint64{bucketObjects: s.bucket}
	for i, kind := range kinds {
		all[kind.Kind] = s.objects[i]
	}
	return all
}

func count(ctx context.Context, c client.Client, kind schema.GroupVersionKind) (uint64, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := c.List(ctx, list, client.Limit(1)); err != nil {
		return 0, fmt.Errorf("count %ss: %w", kind.Kind, err)
	}
	n := int64(len(list.Items))
	if rest := list.GetRemainingItemCount(); rest != nil {
		n += *rest
	}
	return uint64(n), nil //nolint:gosec // a number of items
}

// watches counts those that the API server has open, for whomever.
func watches(ctx context.Context, config *rest.Config) (n uint64, err error) {
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, err
	}
	defer c.CloseIdleConnections()
	text, err := get(ctx, c, config.Host+"/metrics")
	if err != nil {
		return 0, err
	}
	return sum(text, "apiserver_longrunning_requests", `verb="WATCH"`)
}

// sum adds up a metric's values where its labels have one.
func sum(text, metric, label string) (n uint64, err error) {
	found := false
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, metric+"{") || !strings.Contains(line, label) {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", metric, err)
		}
		found, n = true, n+uint64(value)
	}
	if !found {
		return 0, fmt.Errorf("the API server's metrics have no %s with %s", metric, label)
	}
	return n, nil
}

// files counts those below a folder, with the bytes in them.
func files(dir string) (n, bytes uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has just gone
		}
		if err != nil || !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".attrs") {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n, bytes = n+1, bytes+uint64(info.Size()) //nolint:gosec // a size
		}
		return err
	})
	return n, bytes, err
}

// columns of the table. Those that are lines come after "leader"; "of it" are parts of the
// one before, which tell where it grows.
func columns() []string {
	head := []string{"hour", "leader", "leader: heap (bytes)", "leader: objects in the heap", "leader: own memory (bytes)", "of it: pages of the heap (bytes)", "of it: stacks (bytes)", "of it: Go's own (bytes)",
		"leader: memory of the program's file (bytes)", "leader: goroutines", "leader: open files",
		"standby: heap (bytes)", "standby: goroutines", "watches"}
	for _, kind := range kinds {
		head = append(head, kind.Kind+"s")
	}
	return append(head, "bucket: objects", "bucket: bytes")
}

func (s sample) row() []string {
	row := []string{strconv.Itoa(s.hour), s.leader}
	for _, n := range append(append([]uint64{s.memory.Heap, s.memory.Objects, s.memory.own, s.memory.Spans, s.memory.Stacks, s.memory.Runtime, s.memory.program, s.memory.Goroutines, s.files, s.standby.Heap, s.standby.Goroutines, s.watches}, s.objects...), s.bucket, s.bytes) {
		row = append(row, strconv.FormatUint(n, 10))
	}
	return row
}

func write(out io.Writer, all []sample) error {
	table := csv.NewWriter(out)
	rows := [][]string{columns()}
	for _, s := range all {
		rows = append(rows, s.row())
	}
	return table.WriteAll(rows)
}
