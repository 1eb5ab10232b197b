package command

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
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
	deployment := func(namespace string) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x", Labels: map[string]string{"app.kubernetes.io/name": "cht-backup"}}}
	}
	w := newWorld(t, interceptor.Funcs{}, deployment("medic-backup"), deployment("uat-backup"),
		in("uat-backup", recordOf(t, "uat", "of-uat", "uid-1", noon, "clone")), in("medic-backup", recordOf(t, "medic", "of-medic", "uid-2", noon)))
	w.mustRun(t, exit.Code(0), []string{"of-uat", "of-medic"}, "list", "-A")
	w.mustRun(t, exit.Code(0), []string{"of-uat", "uat-backup"}, "describe", "backup", "of-uat", "-n", "uat")
	w.mustRun(t, exit.Code(0), nil, "hold", "of-medic", "-n", "medic", "--reason", "audit")
	// The one that is named is asked, and no other.
	w.mustRun(t, exit.Refused, []string{"no record of it is kept"}, "hold", "of-medic", "-n", "medic", "--reason", "audit", "--system-namespace", "uat-backup")
}
