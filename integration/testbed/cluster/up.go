package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/testbed/build"
	"github.com/medic/cht-backup/integration/testbed/image"
	"github.com/medic/cht-backup/integration/testbed/kube"
	"github.com/medic/cht-backup/integration/testbed/mounts"
)

// Up makes the cluster run. One that is healthy stays as it is; what a crash left
// is taken away first.
func (t *Testbed) Up(ctx context.Context) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.installPackages(); err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	bin, err := build.All(ctx, t.Source, t.Cache, t.Log)
	if err != nil {
		return err
	}
	s, err := t.load()
	if err != nil {
		return err
	}
	if err := t.Healthy(ctx); err == nil {
		for name, path := range bin {
			if s.Binaries[name] != path {
				t.logf("note: the running %s is of other sources; down and up again to take the new one", name)
			}
		}
		return nil
	} else if t.remains() {
		t.logf("cleaning up what is left of an earlier testbed (%v)", err)
		if err := t.teardown(ctx, false); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	start := time.Now()
	if err := t.bringUp(ctx, bin); err != nil {
		return err
	}
	t.logf("up in %s", time.Since(start).Round(100*time.Millisecond))
	return nil
}

// remains tells whether an earlier testbed left anything.
func (t *Testbed) remains() bool {
	for _, path := range []string{t.path("state.json"), netnsFile, filepath.Join("/sys/class/net", hostLink)} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

func (t *Testbed) bringUp(ctx context.Context, bin map[string]string) error {
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return err
	}
	s := state{Binaries: bin, Sysctls: readSysctls(), Made: absent()}
	if err := errors.Join(t.save(s), os.WriteFile(ownerFile, []byte(t.Dir+"\n"), 0o644)); err != nil {
		return err
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"write the configuration", t.writeFiles},
		{"make certificates", t.writeCertificates},
		{"link binaries", func() error { return t.linkBinaries(bin) }},
		{"make the network", makeNetwork},
		{"make cgroups", makeCgroups},
		{"raise inotify limits", func() error { return raiseInotify(s.Sysctls[inotifyInstances]) }},
		{"make storage", t.makeStorage},
		{"start the components", func() error { return t.startAll(ctx, bin) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (t *Testbed) makeStorage() error {
	root := t.path("kubelet")
	if err := errors.Join(os.MkdirAll(root, 0o750), os.MkdirAll(t.localPathDir(), 0o755),
		os.MkdirAll(t.path("local"), 0o777), os.Chmod(t.path("local"), 0o777)); err != nil {
		return err
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to itself: %w", root, err)
	}
	if err := unix.Mount("", root, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share %s: %w", root, err)
	}
	kept, err := t.takeKept()
	if err != nil {
		return err
	}
	if kept {
		err = mounts.MountImage(t.path("pool.img"), t.path("pool"), "xfs")
	} else {
		err = mounts.Image(t.path("pool.img"), poolBytes, t.path("pool"), "xfs", "mkfs.xfs", "-q", "-K", "-m", "reflink=1")
	}
	if err != nil {
		return err
	}
	if err := mounts.Image(t.path("shared.img"), sharedBytes, t.path("shared"), "ext4", "mkfs.ext4", "-q", "-m0", "-E", "nodiscard"); err != nil {
		return err
	}
	for _, dir := range []string{"a", "b", "c"} {
		if err := errors.Join(os.Mkdir(t.path("shared", dir), 0o777), os.Chmod(t.path("shared", dir), 0o777)); err != nil {
			return err
		}
	}
	return nil
}

func (t *Testbed) startAll(ctx context.Context, bin map[string]string) error {
	all := t.components(bin)
	early := func(c component) bool { return slices.Contains([]string{etcd, containerd, apiserver}, c.name) }
	// These three find each other; the others would fail without the API and, not
	// being watched over, stay dead.
	if err := t.startSet(ctx, all, early); err != nil {
		return err
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	if err := t.loadProbe(ctx, bin["probe"]); err != nil {
		return err
	}
	if err := applyCRDs(ctx, client, bin[build.CRDs]); err != nil {
		return err
	}
	if err := t.startSet(ctx, all, func(c component) bool { return !early(c) && c.name != "coredns" }); err != nil {
		return err
	}
	manifests, err := t.manifests()
	if err != nil {
		return err
	}
	applying, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// An established CRD is not served by every path of the server at once.
	if err := until(applying, func(ctx context.Context) error { return client.Apply(ctx, manifests) }); err != nil {
		return err
	}
	if err := t.startSet(ctx, all, func(c component) bool { return c.name == "coredns" }); err != nil {
		return err
	}
	return t.settled(ctx, client)
}

// startSet starts some components at once and waits until they all serve.
func (t *Testbed) startSet(ctx context.Context, all []component, want func(component) bool) error {
	var wg sync.WaitGroup
	failed := make([]error, len(all))
	for i, c := range all {
		if want(c) {
			wg.Go(func() { failed[i] = t.start(ctx, c) })
		}
	}
	wg.Wait()
	return errors.Join(failed...)
}

// loadProbe makes the image that every pod's sandbox runs.
func (t *Testbed) loadProbe(ctx context.Context, probe string) error {
	layer := &image.Layer{}
	if err := layer.AddFile(probe, "/probe", 0o755); err != nil {
		return err
	}
	file := t.path("testbed-probe.tar")
	if err := image.Build(file, pauseImage, layer, image.Config{Entrypoint: []string{"/probe"}, Cmd: []string{"pause"}}); err != nil {
		return err
	}
	_, err := t.LoadImage(ctx, file)
	return err
}

func applyCRDs(ctx context.Context, client *kube.Client, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := client.Apply(ctx, string(data)); err != nil {
			return fmt.Errorf("apply %s: %w", filepath.Base(f), err)
		}
	}
	crds, err := client.Get(ctx, crdPath)
	if err != nil {
		return err
	}
	items, _ := crds.Field("items").([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		if _, err := client.Wait(ctx, crdPath, kube.Object(m).Text("metadata", "name"),
			func(o kube.Object) bool { return kube.Condition(o, "Established") }); err != nil {
			return err
		}
	}
	return nil
}

const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// settled waits for what the first pod of a test needs.
func (t *Testbed) settled(ctx context.Context, client *kube.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if _, err := client.Wait(ctx, "/api/v1/nodes", NodeName, nodeReady); err != nil {
		return err
	}
	if _, err := client.Wait(ctx, "/api/v1/namespaces/default/serviceaccounts", "default", func(kube.Object) bool { return true }); err != nil {
		return err
	}
	_, err := client.Wait(ctx, "/apis/storage.k8s.io/v1/csinodes", NodeName, func(o kube.Object) bool {
		drivers, _ := o.Field("spec", "drivers").([]any)
		return len(drivers) == 3
	})
	return err
}

func nodeReady(o kube.Object) bool {
	// The node is Ready a moment before its taint goes, and pods wait for the latter.
	taints, _ := o.Field("spec", "taints").([]any)
	return kube.Condition(o, "Ready") && len(taints) == 0
}

// Healthy tells what is wrong with the cluster, nil when nothing is.
func (t *Testbed) Healthy(ctx context.Context) error {
	s, err := t.load()
	if err != nil {
		return err
	}
	if len(s.Binaries) == 0 {
		return errors.New("no testbed is up")
	}
	for _, c := range t.components(s.Binaries) {
		if _, alive := t.procs().Alive(c.name); !alive {
			return fmt.Errorf("%s does not run", c.name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client, err := t.client()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no kubeconfig")
	}
	if err != nil {
		return err
	}
	if err := client.Ready(ctx); err != nil {
		return err
	}
	if _, err := client.Wait(ctx, "/api/v1/nodes", NodeName, nodeReady); err != nil {
		return err
	}
	return resolves(ctx)
}
