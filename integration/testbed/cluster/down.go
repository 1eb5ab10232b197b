package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/medic/cht-backup/integration/testbed/mounts"
)

// Down takes the cluster away with all it left on the machine.
func (t *Testbed) Down(ctx context.Context) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(t.teardown(ctx, false), ignoreMissing(os.Remove(t.kept())))
}

// teardown works from whatever state a crash left: every step looks for what is
// there, and one that fails does not keep the later ones from being tried.
func (t *Testbed) teardown(ctx context.Context, keepPool bool) error {
	s, err := t.load()
	if err != nil {
		t.logf("state is unreadable, going by what is there: %v", err)
	}
	if thawed, err := mounts.ThawUnder(t.Dir); err != nil {
		return err
	} else if len(thawed) > 0 {
		t.logf("thawed %v", thawed)
	}
	var failed error
	try := func(what string, do func() error) {
		start := time.Now()
		defer func() {
			if took := time.Since(start); took > 2*time.Second {
				t.logf("%s took %s", what, took.Round(100*time.Millisecond))
			}
		}()
		if err := do(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", what, err))
		}
	}
	try("disarm thaws", t.disarmAll)
	names := t.stopOrder()
	split := slices.Index(names, containerd)
	try("stop the API's clients", func() error { return t.stopAll(names[:split], 5*time.Second) })
	try("stop the pods", func() error { return t.stopPods(ctx) })
	try("kill what is left of the pods", emptyCgroups)
	// What they keep is thrown away: a short grace will do.
	try("stop the servers", func() error { return t.stopAll(names[split:], time.Second) })
	try("kill containerd's shims", t.killShims)
	try("kill what is left in the node's network", killInNode)
	try("unmount", func() error { return mounts.UnmountUnder(t.Dir) })
	try("detach loop devices", func() error { return mounts.DetachUnder(t.Dir) })
	try("remove the network", removeNetwork)
	try("remove cgroups", removeCgroups)
	try("restore sysctls", func() error { return restoreSysctls(s.Sysctls) })
	try("remove records of pod networks", removeCNIResults)
	if failed != nil {
		return failed // the directory holds what a second try needs
	}
	for _, dir := range s.Made {
		try("remove "+dir, func() error {
			if dir == netnsDir {
				return removeNetnsDir()
			}
			return os.RemoveAll(dir)
		})
	}
	if keepPool {
		try("keep the storage", t.keepPool)
		if failed != nil {
			return failed
		}
	}
	try("remove the directory", t.removeDir)
	try("forget the directory", func() error { return ignoreMissing(os.Remove(ownerFile)) })
	return failed
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// stopOrder returns the recorded processes, last started first, with containerd
// and the servers at the end.
func (t *Testbed) stopOrder() []string {
	var names, servers []string
	for _, c := range t.components(nil) {
		switch c.name {
		case etcd, apiserver:
			servers = append(servers, c.name)
		case containerd:
		default:
			names = append(names, c.name)
		}
	}
	slices.Reverse(names)
	slices.Reverse(servers)
	return append(append(names, containerd), servers...)
}

func (t *Testbed) stopAll(names []string, grace time.Duration) error {
	var wg sync.WaitGroup
	failed := make([]error, len(names))
	for i, name := range names {
		wg.Go(func() { failed[i] = t.procs().Stop(name, grace) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

// stopPods asks containerd to stop and forget every sandbox. Without containerd
// the cgroups are emptied by hand afterwards.
func (t *Testbed) stopPods(ctx context.Context) error {
	if _, alive := t.procs().Alive(containerd); !alive {
		return nil
	}
	// One that somebody stopped with a signal does not answer.
	if _, err := t.procs().Signal(containerd, unix.SIGCONT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := dial(t.containerdSocket())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	runtime := cri.NewRuntimeServiceClient(conn)
	list, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		t.logf("containerd does not answer, killing its pods instead: %v", err)
		return nil
	}
	var wg sync.WaitGroup
	for _, sandbox := range list.GetItems() {
		wg.Go(func() {
			_, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: sandbox.GetId()})
			if err == nil {
				_, err = runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: sandbox.GetId()})
			}
			if err != nil {
				t.logf("stop pod %s: %v", sandbox.GetMetadata().GetName(), err)
			}
		})
	}
	wg.Wait()
	return nil
}

// killShims ends the shims that a killed containerd left: those whose command
// line names our socket.
func (t *Testbed) killShims() error {
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, f := range dirs {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		argv := bytes.Split(data, []byte{0})
		if filepath.Base(string(argv[0])) != "containerd-shim-runc-v2" ||
			!slices.ContainsFunc(argv, func(a []byte) bool { return string(a) == t.containerdSocket() }) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return err
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// removeCNIResults removes what the CNI library caches per attachment.
func removeCNIResults() error {
	files, err := filepath.Glob("/var/lib/cni/results/cht-testbed-*")
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// removeDir removes the directory, unless something is still mounted in it: then
// it would remove that something's content.
func (t *Testbed) removeDir() error {
	left, err := mounts.Under(t.Dir)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("%s is still mounted", left[0].Path)
	}
	return os.RemoveAll(t.Dir)
}
