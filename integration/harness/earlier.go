package harness

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// earlierCommits bounds how far back a chart is looked for.
const earlierCommits = 300

// EarlierCharts is the folder charts as git has it in the newest commit whose charts are
// not those of the work tree, and that commit. Where there is none, as in a copy without
// a history, the test is skipped with the reason.
func (c *Cluster) EarlierCharts(t testing.TB, needs ...string) (folder, commit string) {
	t.Helper()
	ctx := t.Context()
	commit, err := c.earlierCommit(ctx, needs)
	if err != nil {
		t.Skipf("no earlier charts to upgrade from: %v", err)
	}
	folder = t.TempDir()
	if err := c.archive(ctx, commit, folder); err != nil {
		t.Fatalf("charts of commit %s: %v", commit, err)
	}
	return filepath.Join(folder, "charts"), commit
}

// earlierCommit has every path that is needed. A repository may have been made just now:
// then it is the commit before, whatever its charts.
func (c *Cluster) earlierCommit(ctx context.Context, needs []string) (string, error) {
	out, err := c.git(ctx, "rev-list", fmt.Sprintf("--max-count=%d", earlierCommits), "HEAD")
	if err != nil {
		return "", err
	}
	commits := strings.Fields(out)
	for _, commit := range commits {
		if err := c.has(ctx, commit, needs); err != nil {
			continue
		}
		var exit *exec.ExitError
		if _, err := c.git(ctx, "diff", "--quiet", commit, "--", "charts"); errors.As(err, &exit) && exit.ExitCode() == 1 {
			return commit, nil
		} else if err != nil {
			return "", err
		}
	}
	if len(commits) < 2 {
		return "", errors.New("git has no commit before this one: fetch the history")
	}
	return commits[1], c.has(ctx, commits[1], needs)
}

func (c *Cluster) has(ctx context.Context, commit string, paths []string) error {
	for _, path := range paths {
		if _, err := c.git(ctx, "cat-file", "-e", commit+":"+path); err != nil {
			return fmt.Errorf("commit %s has no %s: %w", commit, path, err)
		}
	}
	return nil
}

func (c *Cluster) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = c.root
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, tail(string(exit.Stderr), 300))
	}
	return string(out), err
}

// archive unpacks a commit's charts. The link from one chart to the other stays one.
func (c *Cluster) archive(ctx context.Context, commit, into string) error {
	text, err := c.git(ctx, "archive", "--format=tar", commit, "charts")
	if err != nil {
		return err
	}
	for r := tar.NewReader(strings.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to := filepath.Join(into, filepath.Clean("/"+h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(to, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, to)
		case tar.TypeReg:
			data, readErr := io.ReadAll(r)
			err = errors.Join(readErr, os.WriteFile(to, data, 0o644))
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}
