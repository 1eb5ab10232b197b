package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const module = "module github.com/medic/cht-backup\n"

// source finds the module's root from the current directory upwards.
func source() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(data), module) {
			return dir, nil
		}
		if dir == "/" {
			return "", fmt.Errorf("the module's root is not above %s", here)
		}
	}
}

// cacheDir keeps what was built: HARNESS_CACHE, or a folder in the user's cache.
func cacheDir() (string, error) {
	dir := os.Getenv("HARNESS_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, "cht-backup-harness")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// locked runs f while no other process does so: `go test ./...` runs the test
// binaries of several packages at once, and each begins here.
func locked(dir string, f func() error) error {
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which unlocks
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	return f()
}

// build compiles a static binary; the compiler's own cache makes it cheap to do so
// each time.
func build(ctx context.Context, moduleDir, pkg, out string) error {
	return run(ctx, moduleDir, nil, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
}

// run runs a command with the build's settings; its output is in the error.
func run(ctx context.Context, dir string, stdout *strings.Builder, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "DEBIAN_FRONTEND=noninteractive")
	var text strings.Builder
	cmd.Stderr = &text
	if stdout != nil {
		cmd.Stdout = stdout
	} else {
		cmd.Stdout = &text
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(text.String(), 2000))
	}
	return err
}

func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-n):]
}
