package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func nameKube(r *http.Request, body []byte) string { return kubePoint(r.Method, r.URL, body) }
func nameBucket(r *http.Request, _ []byte) string  { return bucketPoint(r.Method, r.URL) }

// strike does what goes wrong.
func (w *world) strike(f fault) {
	switch f.what {
	case controllerKill:
		w.ctl.kill(f.lasts)
	case streamsCut:
		w.kube.cut(false)
	case apiAway:
		w.kube.leave(f.lasts)
	case bucketAway:
		w.store.leave(f.lasts)
	case podKill:
		w.killPod()
	case kubeletKill, driverKill, serverKill:
		go w.breakNode(f)
	}
}

// breakNode kills a component of the node and starts it again. Only one is away at a time.
func (w *world) breakNode(f fault) {
	w.busy <- struct{}{}
	defer func() { <-w.busy }()
	ctx := context.WithoutCancel(w.ctx)
	if _, err := w.c.Testbed(ctx, "kill", f.what); err != nil {
		w.ctl.blame(fmt.Sprintf("kill %s: %v", f.what, err))
	}
	time.Sleep(f.lasts)
	if _, err := w.c.Testbed(ctx, "start", f.what); err != nil {
		w.ctl.blame(fmt.Sprintf("start %s: %v", f.what, err))
	}
}

// killPod kills the product's processes in one pod that works for it: freezer, copier,
// filler, preparer or probe.
func (w *world) killPod() {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	var pods corev1.PodList
	if err := w.c.Client.List(ctx, &pods, client.HasLabels{api.RoleLabel}); err != nil {
		return // the API server may be what is broken
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; strings.HasPrefix(p.Namespace, w.name) {
			for _, pid := range processes(string(p.UID)) {
				_ = unix.Kill(pid, unix.SIGKILL) // it has just ended
			}
			return
		}
	}
}

// processes finds those of the product in a pod.
func processes(pod string) (pids []int) {
	groups, _ := filepath.Glob("/proc/[0-9]*/cgroup") // the pattern is good
	for _, file := range groups {
		group, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(group), pod) {
			continue
		}
		dir := filepath.Dir(file)
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !slices.Contains(strings.Split(string(line), "\x00"), "/cht-backup") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
