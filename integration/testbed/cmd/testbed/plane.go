package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/medic/cht-backup/integration/testbed/cluster"
)

// controlPlane runs a control plane as long as whoever asked for it lives.
func controlPlane(ctx context.Context, bed *cluster.Testbed, dir string) error {
	source, err := findSource()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("the folder must be new: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	p := &cluster.Plane{Dir: dir, Source: source, Cache: bed.Cache, Log: bed.Log}
	return p.Run(ctx, func() { fmt.Println(p.Kubeconfig()) })
}
