package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// What a drill is asked for, and what must be left of it: nothing.

func drillOf(b *api.Backup, level api.VerificationLevel) api.RestoreSpec {
	spec := sourceOf(b)
	spec.Drill, spec.Verify = &api.Drill{}, level
	return spec
}

// drilled drills, waits for the end, and checks that nothing is left.
func drilled(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string, spec api.RestoreSpec) *api.Restore {
	t.Helper()
	r, err := c.CreateRestore(ctx, namespace, name, spec)
	if err == nil {
		r, err = c.WaitRestore(ctx, r, restoreWithin, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	drillGone(ctx, t, c, r)
	return r
}

// drillGone checks that a drill that has ended left nothing: it is not said to have
// ended before.
func drillGone(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore) {
	t.Helper()
	if r.Status.Drill == nil || r.Status.Drill.Scratch == "" {
		t.Errorf("the drill does not say where it was: %+v", r.Status.Drill)
		return
	}
	name := r.Status.Drill.Scratch
	if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("namespace %s is there yet (%v)", name, err)
	}
	if left := holdings(ctx, t, c, name); len(left) > 0 {
		t.Errorf("left behind are %v", left)
	}
}

// saidOf are the reasons of the warnings that were raised about a backup.
func saidOf(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) (reasons []string) {
	t.Helper()
	var list eventsv1.EventList
	if err := c.Client.List(ctx, &list, client.InNamespace(b.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.UID == b.UID && e.Type == corev1.EventTypeWarning {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// measured reads the controller's metrics of a namespace, by the rest of their line.
func measured(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) map[string]string {
	t.Helper()
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Kube.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, "8080", "metrics", nil).DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.Contains(series, fmt.Sprintf("namespace=%q", namespace)) {
			found[strings.Replace(series, fmt.Sprintf("namespace=%q", namespace), "", 1)] = value
		}
	}
	return found
}

// scratchEnds waits until a scratch namespace is gone with its volumes.
func scratchEnds(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	scratchGone(ctx, t, c, &api.Restore{Status: api.RestoreStatus{Database: &api.DatabaseStatus{Scratch: name}}})
	if left := holdings(ctx, t, c, name); len(left) > 0 {
		t.Errorf("left behind are %v", left)
	}
}

// nodeOf is the node, by its place in the record, that has a database's only shard.
func nodeOf(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, database string) int {
	t.Helper()
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	m := record.Before.ShardMaps[database]
	for i, node := range record.Nodes {
		if len(m.ByNode[node.ErlangName]) > 0 {
			return i
		}
	}
	t.Fatalf("no node has a shard of %s: %v", database, m.ByNode)
	return 0
}
