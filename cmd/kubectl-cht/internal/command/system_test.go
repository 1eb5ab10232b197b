package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/served"
)

func TestRank(t *testing.T) {
	own, other, all, mute := controller{"medic-backup", []string{"medic", "medic-clone"}, true}, controller{"uat-backup", []string{"uat"}, true}, controller{"cht-backup-system", nil, true}, controller{"old", nil, false}
	for name, tt := range map[string]struct {
		namespace, holder string
		all               []controller
		want              []string
	}{
		"nobody can be seen":            {"medic", "", nil, []string{"system"}},
		"one that is set to serve it":   {"medic", "", []controller{all, other, own}, []string{"medic-backup", "cht-backup-system", "uat-backup", "system"}},
		"none that is":                  {"prod", "", []controller{other, mute, all, own}, []string{"cht-backup-system", "old", "medic-backup", "uat-backup", "system"}},
		"who holds the Lease is first":  {"medic", "uat-backup", []controller{own, other}, []string{"uat-backup", "medic-backup", "system"}},
		"a holder that cannot be seen":  {"medic", "elsewhere", nil, []string{"elsewhere", "system"}},
		"one that says nothing of that": {"medic", "", []controller{mute}, []string{"old", "system"}},
		"all, for no namespace":         {"", "", []controller{own, all}, []string{"cht-backup-system", "medic-backup", "system"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rank(tt.namespace, tt.holder, tt.all, "system"); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A record is found wherever the controller is that has it, and with more than one of
// them all are listed.
func TestRecordsOfSeveralControllers(t *testing.T) {
	in := func(namespace string, secret *corev1.Secret) *corev1.Secret {
		secret.Namespace = namespace
		return secret
	}
	w := newWorld(t, interceptor.Funcs{}, installed("medic-backup"), installed("uat-backup"),
		in("uat-backup", recordOf(t, "uat", "of-uat", "uid-1", noon, "clone")), in("medic-backup", recordOf(t, "medic", "of-medic", "uid-2", noon)))
	w.mustRun(t, exit.Good, nil, "list", "-A")
	for _, want := range []string{"of-uat", "of-medic"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("%s is not listed in\n%s", want, w.out)
		}
	}
	w.mustRun(t, exit.Good, nil, "hold", "of-medic", "--reason", "audit")
	// The one that is named is asked, and no other.
	w.mustRun(t, exit.Refused, []string{"no record of it is kept"}, "hold", "of-medic", "--reason", "audit", "--system-namespace", "uat-backup")
}

// installed is what an administrator of the cluster has given a controller.
func installed(namespace string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "x." + namespace, Labels: map[string]string{"app.kubernetes.io/name": "cht-backup"}},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "x"}}}
}

// charts/cht has a controller of its own in another namespace than the usual one. Its
// claim of the CHT's namespace leads there; one that somebody else wrote leads nowhere,
// or for those who cannot see who is installed, nowhere that anything is written.
func TestWhoIsBelieved(t *testing.T) {
	blind := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(*rbacv1.ClusterRoleBindingList); is {
			return apierrors.NewForbidden(rbacv1.Resource("clusterrolebindings"), "", errors.New("no"))
		}
		return c.List(ctx, list, opts...)
	}}
	for name, tt := range map[string]struct {
		holder        string
		installed     []client.Object
		blind         bool
		reads, writes string
	}{
		"its own controller's":               {"medic-backup/x", []client.Object{installed("medic-backup"), installed(system)}, false, "medic-backup", "medic-backup"},
		"somebody else's word":               {"evil/x", []client.Object{installed(system)}, false, system, system},
		"the only one":                       {"", []client.Object{installed("elsewhere")}, false, "elsewhere", "elsewhere"},
		"none installed":                     {"medic-backup/x", nil, false, system, system},
		"nobody to be seen":                  {"medic-backup/x", nil, true, "medic-backup", system},
		"nobody to be seen, and no own word": {"", nil, true, system, system},
		"another form":                       {"nobody", nil, true, system, system},
		"no name of a namespace":             {"../x/y", nil, true, system, system},
	} {
		t.Run(name, func(t *testing.T) {
			hooks := interceptor.Funcs{}
			if tt.blind {
				hooks = blind
			}
			claim := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: served.LeaseName}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &tt.holder}}
			w := newWorld(t, hooks, append(tt.installed, claim)...)
			if got := w.env.systems(t.Context(), w, "medic", true)[0]; got != tt.reads {
				t.Errorf("reads in %s, want %s", got, tt.reads)
			}
			if w.env.locate(t.Context(), w, "medic"); w.env.SystemNamespace != tt.writes {
				t.Errorf("writes in %s, want %s", w.env.SystemNamespace, tt.writes)
			}
			w.mustRun(t, exit.Good, nil, "list", "--system-namespace", "mine")
			if w.env.locate(t.Context(), w, "medic"); w.env.SystemNamespace != "mine" {
				t.Errorf("it was given, and is %s", w.env.SystemNamespace)
			}
		})
	}
}
