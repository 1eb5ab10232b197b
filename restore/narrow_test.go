package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// A controller that may make no namespaces refuses what needs one, before it looks at
// anything, and says which setting it is.
func TestNarrowRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spec   api.RestoreSpec
		narrow bool
		wrong  bool
	}{
		"a drill":                       {api.RestoreSpec{Drill: &api.Drill{}}, true, true},
		"one database":                  {api.RestoreSpec{Database: &api.DatabaseRestore{Name: "medic"}}, true, true},
		"a clone":                       {api.RestoreSpec{}, true, false},
		"in place":                      {api.RestoreSpec{InPlace: &api.InPlace{}}, true, false},
		"a drill, with rights anywhere": {api.RestoreSpec{Drill: &api.Drill{}}, false, false},
		"one database, likewise":        {api.RestoreSpec{Database: &api.DatabaseRestore{Name: "medic"}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Reconciler{Narrow: tt.narrow}
			err := r.scratchAllowed(&api.Restore{Spec: tt.spec})
			if !tt.wrong {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := reason.Of(err); e == nil || !e.Final || e.Reason != api.ReasonNotAllowed || !strings.Contains(err.Error(), "rbac-scope is Namespaced") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A backup of a namespace that such a controller has no rights in is none that it can
// judge: who may restore it stands on the Backup.
func TestNarrowSource(t *testing.T) {
	b := newBench(t)
	b.Narrow = true
	b.Client = interceptor.NewClient(b.Client, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, is := o.(*api.Backup); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "backups"}, key.Name, errors.New("no"))
		}
		return c.Get(ctx, key, o, opts...)
	}})
	_, err := b.findRecord(t.Context(), &api.Restore{Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: "elsewhere", Name: "nightly"}}})
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonNotAllowed || !strings.Contains(err.Error(), "does not list elsewhere") {
		t.Errorf("%v", err)
	}
	b.Narrow = false
	if _, err := b.findRecord(t.Context(), &api.Restore{Spec: api.RestoreSpec{Source: api.BackupReference{Namespace: "elsewhere", Name: "nightly"}}}); err == nil || reason.Of(err) != nil {
		t.Errorf("with rights anywhere a refused question is to be asked again: %v", err)
	}
}

// It keeps the namespace that a clone was made in, and says so, instead of trying for
// ever to delete it.
func TestNarrowKeepsNamespace(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: target, Annotations: map[string]string{api.CreatedForAnnotation: "r"}}}
	b := newBench(t, ended(api.PhaseExpiring, ttl(time.Hour)), namespace)
	b.Narrow = true
	got, err := b.reconcile()
	if err != nil || got.Status.Phase != api.PhaseExpired {
		t.Fatalf("%s, %v", got.Status.Phase, err)
	}
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
		t.Error(err)
	}
	if c := meta.FindStatusCondition(got.Status.Conditions, api.ConditionReady); c == nil || !strings.Contains(c.Message, "is kept, since a controller of rbac-scope Namespaced deletes none") {
		t.Errorf("%+v", c)
	}
}
