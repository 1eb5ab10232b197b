package compose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Target is where one node's files go.
type Target struct {
	// Node is the record's, Data CouchDB's data directory on this machine.
	Node, Data string
	// Config is its local.d; "" where no volume keeps it: such a node makes it anew when
	// it starts, from its environment and from node 1.
	Config string
}

// unfinished is where package node keeps what a filling has not finished.
const unfinished = ".cht-fill"

// Ready refuses directories that hold something, before anything is written. With force
// it sets them aside instead, and tells where.
func Ready(targets []Target, force bool, now time.Time) (aside []string, err error) {
	for _, t := range targets {
		for _, dir := range []string{t.Data, t.Config} {
			if dir == "" {
				continue
			}
			used, err := inUse(dir)
			if err != nil {
				return aside, err
			}
			if !used {
				continue
			}
			if !force {
				return aside, fmt.Errorf("%s: directory %s is not empty; stop the CHT (docker compose down), then name an empty one, or set this one aside with --force", t.Node, dir)
			}
			to := filepath.Clean(dir) + ".before-" + now.UTC().Format("20060102-150405")
			err = os.Rename(dir, to)
			if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) {
				return aside, fmt.Errorf("%s: directory %s is a volume of its own and cannot be set aside; move what is in it yourself: %w", t.Node, dir, err)
			}
			if err != nil {
				return aside, fmt.Errorf("%s: set %s aside: %w", t.Node, dir, err)
			}
			aside = append(aside, to)
		}
	}
	return aside, nil
}

// inUse tells whether a directory holds something that no interrupted filling left: one
// of those goes on, and looks itself whether it is its own.
func inUse(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	used := false
	for _, e := range entries {
		if e.Name() == unfinished {
			return false, nil
		}
		used = true
	}
	return used, nil
}

// Fill fills one node's directories from the repository. It can be called again after it
// failed, and goes on.
func Fill(ctx context.Context, r transfer.Reader, n catalog.Node, t Target, progress func(transfer.Progress)) (tree.Tree, error) {
	if n.File == nil || !n.File.Complete {
		return tree.Tree{}, fmt.Errorf("%s: the record has no files of it", n.Service)
	}
	for _, dir := range []string{t.Data, t.Config} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as CouchDB's image has it
			return tree.Tree{}, err
		}
	}
	sink, err := node.Fill(node.Layout{Data: t.Data, Config: t.Config, HasConfig: t.Config != ""}, n.File.Tree)
	if err != nil {
		return tree.Tree{}, fmt.Errorf("%s: %w", n.Service, err)
	}
	defer sink.Close() //nolint:errcheck // Finish has written all
	var into transfer.Sink = sink
	if t.Config == "" {
		into = &dataOnly{Sink: sink}
	}
	return transfer.Restore(ctx, r, n.File.Tree, into, transfer.Options{Progress: progress})
}

// dataOnly is a sink that gets no configuration.
type dataOnly struct {
	transfer.Sink
	// number is a file's in the sink, by its number in the tree.
	number map[int]int
}

// Begin implements transfer.Sink: what is left out counts as done.
func (d *dataOnly) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) ([]int, error) {
	d.number = map[int]int{}
	var data []tree.Meta
	var outer, done []int
	for i, f := range files {
		if strings.HasPrefix(f.Path, tree.Config) {
			done = append(done, i)
			continue
		}
		d.number[i] = len(data)
		data, outer = append(data, f), append(outer, i)
	}
	there, err := d.Sink.Begin(ctx, data, key)
	if err != nil {
		return nil, err
	}
	for _, k := range there {
		if k < 0 || k >= len(outer) {
			return nil, fmt.Errorf("file %d of %d is complete, it is said", k, len(outer))
		}
		done = append(done, outer[k])
	}
	return done, nil
}

// Put implements transfer.Sink.
func (d *dataOnly) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	return d.Sink.Put(ctx, d.number[file], next)
}
