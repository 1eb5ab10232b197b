package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// plugin runs `kubectl cht …` as an operator would.
type plugin struct {
	path, kubeconfig string
	s                *screen
}

// buildPlugin builds it into a folder of its own; remove deletes that.
func buildPlugin(ctx context.Context, s *screen, kubeconfig string) (*plugin, func(), error) {
	dir, err := os.MkdirTemp("", "cht-demo-*")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // a file left in the temporary folder does no harm
	p := &plugin{path: filepath.Join(dir, "kubectl-cht"), kubeconfig: kubeconfig, s: s}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-o", p.path, "github.com/medic/cht-backup/cmd/kubectl-cht")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		remove()
		return nil, nil, fmt.Errorf("build the kubectl plugin: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return p, remove, nil
}

// run shows the command and what it prints: live where there is a terminal, else
// line by line.
func (p *plugin) run(ctx context.Context, args ...string) error {
	shown := "kubectl cht " + strings.Join(args, " ")
	p.s.command(shown)
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it says how things stand
	cmd.WaitDelay = 10 * time.Second
	if p.s.file != nil {
		cmd.Stdout, cmd.Stderr = p.s.file, p.s.file
	} else {
		// One writer for both: the lines keep their order, and it is not written to from two sides.
		lines := p.s.indented()
		defer lines.flush()
		cmd.Stdout, cmd.Stderr = lines, lines
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", shown, err)
	}
	return nil
}
