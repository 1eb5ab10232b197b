package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// TestOneDatabasePrinted reads a database, and one document, out of the repository into a
// namespace that holds no CHT. Nothing that was written meanwhile has a credential in it.
func TestOneDatabasePrinted(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 6*time.Minute)
	o := deployed(ctx, t, c, 1, onLocalPath(c, t))
	own := killable(ctx, t, c, o.Namespace, catalogOnDisk(), map[string]any{"controller": map[string]any{"env": []any{map[string]any{"name": "AWS_SECRET_ACCESS_KEY", "value": cloudSecret}}}})
	put(ctx, t, own, o, "/zzz", "")
	for i := range 40 {
		put(ctx, t, own, o, fmt.Sprintf("/zzz/doc-%02d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	own.Backup(t, o.Namespace, "b", api.BackupSpec{}, backupWithin)
	put(ctx, t, own, o, "/zzz/later", `{}`)

	scratch := c.TempNamespace(t, "scratch")
	p := built(ctx, t, c)
	from := "repo get -n " + scratch + " --system-namespace " + own.ControllerHome() + " --catalog file://" + catalogFolder(ctx, t, own) + " " + o.Namespace + "/b "
	code, out, said := p.run(ctx, t, from+"zzz")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 40 || !strings.Contains(lines[7], `"_id":"doc-07"`) || !strings.Contains(lines[7], `"n":7`) {
		t.Fatalf("exit code %d, %d lines, the first %.200q: %s", code, len(lines), lines[0], said)
	}
	code, out, said = p.run(ctx, t, from+"zzz --doc doc-07")
	if code != 0 || !strings.Contains(out, `"_id":"doc-07"`) || !strings.Contains(out, `"_revisions"`) {
		t.Errorf("exit code %d, %q: %s", code, out, said)
	}
	if code, _, said = p.run(ctx, t, from+"zz"); code != 4 || !strings.Contains(said, "zzz") {
		t.Errorf("exit code %d: %s", code, said)
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(scratch), client.HasLabels{api.ThrowAwayLabel}); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			t.Errorf("pod %s is left", pod.Name)
		}
	}
	secretsKept(ctx, t, own, o, "file://"+catalogFolder(ctx, t, own))
}
