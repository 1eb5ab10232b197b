package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// KubernetesVersion must be linked in, or clients refuse the server.
const KubernetesVersion = "v1.37.2"

const linkerFlags = "-s -w -X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
	" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"

// target is one binary. Its key covers the versions of its module and, where the
// sources are ours, the folders they are in.
type target struct {
	name, module, pkg string
	sources           []string
}

const snapshotter = "github.com/kubernetes-csi/external-snapshotter/v8/cmd/"

var targets = []target{
	{"node", ".", "./cmd/node", []string{"cmd/node"}},
	{"coredns", ".", "./cmd/coredns", []string{"cmd/coredns"}},
	{"snapshot-controller", ".", snapshotter + "snapshot-controller", nil},
	{"csi-snapshotter", ".", snapshotter + "csi-snapshotter", nil},
	{"loopcsi", ".", "./cmd/loopcsi", []string{"cmd/loopcsi", "loopcsi", "mounts", "tool"}},
	{"local-path-provisioner", ".", "./cmd/local-path-provisioner", []string{"cmd/local-path-provisioner", "localpath"}},
	{"probe", ".", "./cmd/probe", []string{"cmd/probe"}},
	{"csi-provisioner", "provisioner", "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner", nil},
}

// kubectl is for people; nothing here needs it, so it is built on demand.
var kubectl = target{"kubectl", ".", "k8s.io/kubernetes/cmd/kubectl", nil}

// netpol is for tests that want NetworkPolicies enforced.
var netpol = target{"netpol", "netpol", ".", []string{"netpol"}}

// Netpol returns the path of the enforcer of NetworkPolicies, building it if the
// cache lacks it.
func Netpol(ctx context.Context, source, cache string, log io.Writer) (string, error) {
	paths, err := binaries(ctx, source, cache, log, []target{netpol})
	return paths[netpol.name], err
}

// Kubectl returns the path of kubectl, building it if the cache lacks it.
func Kubectl(ctx context.Context, source, cache string, log io.Writer) (string, error) {
	paths, err := binaries(ctx, source, cache, log, []target{kubectl})
	return paths[kubectl.name], err
}

// CRDs is the key in the result of All of the folder with the CRDs of snapshots.
const CRDs = "crds"

const crdModule = "github.com/kubernetes-csi/external-snapshotter/client/v8"

// All returns the path of every binary by name, building those that the cache
// lacks: all of one module in one call, which uses the cores better than several.
func All(ctx context.Context, source, cache string, log io.Writer) (map[string]string, error) {
	paths, err := binaries(ctx, source, cache, log, targets)
	if err != nil {
		return nil, err
	}
	if paths[CRDs], err = crds(ctx, source, cache); err != nil {
		return nil, err
	}
	return paths, prune(cache)
}

// Plane returns the paths of what a control plane without a node consists of.
func Plane(ctx context.Context, source, cache string, log io.Writer) (map[string]string, error) {
	var wanted []target
	for _, t := range targets {
		if t.name == "node" || t.name == "snapshot-controller" {
			wanted = append(wanted, t)
		}
	}
	paths, err := binaries(ctx, source, cache, log, wanted)
	if err != nil {
		return nil, err
	}
	paths[CRDs], err = crds(ctx, source, cache)
	return paths, err
}

func binaries(ctx context.Context, source, cache string, log io.Writer, wanted []target) (map[string]string, error) {
	version, err := goTool(ctx, source, "env", "GOVERSION")
	if err != nil {
		return nil, err
	}
	paths, missing := map[string]string{}, map[string][]target{}
	for _, t := range wanted {
		key, err := t.key(source, version)
		if err != nil {
			return nil, err
		}
		paths[t.name] = filepath.Join(cache, key, t.name)
		if !use(paths[t.name]) {
			missing[t.module] = append(missing[t.module], t)
		}
	}
	for module, list := range missing {
		if err := compile(ctx, filepath.Join(source, module), cache, list, paths, log); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (t target) key(source, version string) (string, error) {
	files := []string{filepath.Join(source, t.module, "go.mod"), filepath.Join(source, t.module, "go.sum")}
	for _, dir := range t.sources {
		found, err := filepath.Glob(filepath.Join(source, dir, "*.go"))
		if err != nil {
			return "", err
		}
		for _, f := range found {
			if !strings.HasSuffix(f, "_test.go") {
				files = append(files, f)
			}
		}
	}
	sort.Strings(files)
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, version, t.pkg, linkerFlags)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("hash the sources of %s: %w", t.name, err)
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", filepath.Base(f), len(data))
		_, _ = sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:20], nil
}

// use tells whether path is there, and marks it as in use for prune.
func use(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	now := time.Now()
	return os.Chtimes(filepath.Dir(path), now, now) == nil
}

func compile(ctx context.Context, dir, cache string, list []target, paths map[string]string, log io.Writer) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	out, err := os.MkdirTemp(cache, ".build-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(out) }()
	args := []string{"build", "-trimpath", "-ldflags", linkerFlags, "-o", out + "/"}
	var names []string
	for _, t := range list {
		args, names = append(args, t.pkg), append(names, t.name)
	}
	_, _ = fmt.Fprintf(log, "building %s (the first time takes minutes)\n", strings.Join(names, ", "))
	start := time.Now()
	if _, err := goTool(ctx, dir, args...); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(log, "built in %s\n", time.Since(start).Round(time.Second))
	for _, t := range list {
		if err := os.MkdirAll(filepath.Dir(paths[t.name]), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(out, t.name), paths[t.name]); err != nil {
			return err
		}
	}
	return nil
}

// crds copies the CRDs out of the module cache, so that a start needs no module.
func crds(ctx context.Context, source, cache string) (string, error) {
	key, err := target{name: CRDs, module: ".", pkg: crdModule}.key(source, "")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key, CRDs)
	if use(dir) {
		return dir, nil
	}
	if _, err := goTool(ctx, source, "mod", "download", crdModule); err != nil {
		return "", err
	}
	module, err := goTool(ctx, source, "list", "-m", "-f", "{{.Dir}}", crdModule)
	if err != nil {
		return "", err
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(module, "config/crd/*_*.yaml"))
	if err != nil {
		return "", fmt.Errorf("look for CRDs in %s: %w", module, err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("no CRDs in %s", module)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(part, filepath.Base(f)), data, 0o644); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(part, dir)
}

func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s in %s: %w: %s", args[0], dir, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// prune removes what nobody used for a month.
func prune(cache string) error {
	all, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range all {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if time.Since(info.ModTime()) > 30*24*time.Hour {
			if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
