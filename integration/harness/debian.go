package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fromDebian is a recipe for one of Debian's programs, started by the tools' subcommand
// that prepares what it needs.
func (b builder) fromDebian(ctx context.Context, pkg, program, subcommand string) (recipe, error) {
	tools, err := b.tools(ctx)
	if err != nil {
		return recipe{}, err
	}
	rootfs, err := b.unpack(ctx, pkg)
	if err != nil {
		return recipe{}, err
	}
	binary := filepath.Join(rootfs, program)
	libraries, err := libraries(ctx, rootfs, binary)
	if err != nil {
		return recipe{}, err
	}
	r := recipe{Files: map[string]string{program: binary, "/cht-tools": tools}, Dirs: []string{"/run", "/tmp:1777"}, Entrypoint: []string{"/cht-tools", subcommand}}
	for path, file := range libraries {
		r.Files[path] = file
	}
	return r, nil
}

// unpack downloads a Debian package, with those it needs and this machine has not,
// into a folder of its own. Nothing is installed and no service is started.
func (b builder) unpack(ctx context.Context, pkg string) (string, error) {
	rootfs := filepath.Join(b.cache, "deb-"+pkg)
	if exists(rootfs) {
		return rootfs, nil
	}
	part, err := os.MkdirTemp(b.cache, ".deb-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(part) }()
	debs := filepath.Join(part, "archives")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return "", err
	}
	download := []string{"apt-get", "install", "-qy", "--reinstall", "--download-only", "--no-install-recommends", "-o", "Dir::Cache::archives=" + debs,
		"-o", "APT::Sandbox::User=root", pkg}
	if err := run(ctx, part, nil, download...); err != nil {
		// The lists may be old, or have never been read.
		if err := run(ctx, part, nil, "apt-get", "update", "-q"); err != nil {
			return "", err
		}
		if err := run(ctx, part, nil, download...); err != nil {
			return "", err
		}
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil || len(files) == 0 {
		return "", errors.Join(err, fmt.Errorf("download package %s: nothing came", pkg))
	}
	tree := filepath.Join(part, "rootfs")
	for _, file := range files {
		if err := run(ctx, part, nil, "dpkg", "-x", file, tree); err != nil {
			return "", err
		}
	}
	return rootfs, os.Rename(tree, rootfs)
}

// libraries are the shared objects that a binary needs, by the path at which its
// loader looks: from rootfs where they are there, else this machine's.
func libraries(ctx context.Context, rootfs, binary string) (map[string]string, error) {
	var dirs []string
	for _, pattern := range []string{"lib/*-linux-gnu", "usr/lib/*-linux-gnu"} {
		found, err := filepath.Glob(filepath.Join(rootfs, pattern))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, found...)
	}
	cmd := exec.CommandContext(ctx, "ldd", binary)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("ldd %s: %w: %s", binary, err, exit.Stderr)
	} else if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "not found") {
			return nil, fmt.Errorf("ldd %s: %s", binary, strings.TrimSpace(line))
		}
		if _, after, ok := strings.Cut(line, "=> "); ok {
			line = after
		}
		file, _, ok := strings.Cut(strings.TrimSpace(line), " (")
		if !ok || !filepath.IsAbs(file) {
			continue // the kernel's vdso
		}
		target, err := filepath.EvalSymlinks(file)
		if err != nil {
			return nil, err
		}
		all[strings.TrimPrefix(file, rootfs)] = target
	}
	return all, nil
}
