package command

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// heldFor gives why the Backup nightly is held, "" if it is not.
func (w *world) heldFor(t *testing.T) string {
	t.Helper()
	var b api.Backup
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "nightly"}, &b); err != nil {
		t.Fatal(err)
	}
	return b.Annotations[api.HoldAnnotation]
}

func TestHoldAndRelease(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"), recordOf(t, "medic", "old", "u-0", noon))
	w.mustRun(t, exit.Good, nil, "hold", "nightly", "--reason", "for the auditor")
	if got := w.heldFor(t); got != "for the auditor" || !strings.Contains(w.out.String(), "backup medic/nightly is held: for the auditor") {
		t.Errorf("held for %q: %s", got, w.out)
	}
	w.mustRun(t, exit.Good, nil, "list", "-o", "wide")
	if !strings.Contains(w.out.String(), "HELD") || !strings.Contains(w.out.String(), "for the auditor") {
		t.Errorf("list: %s", w.out)
	}
	w.mustRun(t, exit.Good, nil, "describe", "nightly")
	if !strings.Contains(w.out.String(), "held (for the auditor); end that with: kubectl cht release nightly -n medic") {
		t.Errorf("describe: %s", w.out)
	}
	w.mustRun(t, exit.Refused, []string{"is held (for the auditor)", "release it first: kubectl cht release nightly -n medic"}, "delete", "backup", "nightly", "--yes")
	w.mustRun(t, exit.Good, nil, "release", "backup", "nightly")
	if got := w.heldFor(t); got != "" || !strings.Contains(w.out.String(), "it was held: for the auditor") {
		t.Errorf("held for %q: %s", got, w.out)
	}
	w.mustRun(t, exit.Good, nil, "release", "nightly")
	if !strings.Contains(w.out.String(), "is not held") {
		t.Errorf("released twice: %s", w.out)
	}
	w.mustRun(t, exit.Good, nil, "hold", "nightly")
	if got := w.heldFor(t); got != "held by kubectl cht hold on 2026-03-01" {
		t.Errorf("held for %q", got)
	}

	w.mustRun(t, exit.Good, nil, "hold", "old", "--reason", "trial")
	w.mustRun(t, exit.Refused, []string{"medic/old is held (trial)"}, "delete", "backup", "old", "--yes")
	w.mustRun(t, exit.Good, nil, "describe", "old")
	if !strings.Contains(w.out.String(), "trial") {
		t.Errorf("describe: %s", w.out)
	}
	w.mustRun(t, exit.Good, nil, "release", "old", "--uid", "u-0")
	w.mustRun(t, exit.Good, nil, "delete", "backup", "old", "--yes")

	w.mustRun(t, exit.Refused, []string{"backup medic/none does not exist"}, "hold", "none")
	w.mustRun(t, exit.Usage, []string{"only backups are held"}, "hold", "restore", "nightly")
	w.mustRun(t, exit.Usage, []string{"say it shorter"}, "hold", "nightly", "--reason", strings.Repeat("x", 501))
}

// A hold that comes while the name is typed counts.
func TestHeldWhileTyping(t *testing.T) {
	held := false
	w := newWorld(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		err := c.Get(ctx, key, o, opts...)
		if b, is := o.(*api.Backup); is && err == nil && !held {
			held = true
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+api.HoldAnnotation+`":"quick"}}}`))
			return c.Patch(ctx, b.DeepCopy(), patch)
		}
		return err
	}}, backupIn(api.PhaseCompleted, "u-1"))
	w.somebody("nightly\n")
	w.mustRun(t, exit.Refused, []string{"is held (quick)"}, "delete", "backup", "nightly")
	if got := w.heldFor(t); got != "quick" {
		t.Errorf("held for %q", got)
	}
}
