package command

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/medic/cht-backup/snapshot/served"
)

// The records of a CHT that has a controller of its own are where that is.
func TestAtHome(t *testing.T) {
	lease := func(namespace, name, holder string) *coordinationv1.Lease {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		if holder != "" {
			l.Spec.HolderIdentity = &holder
		}
		return l
	}
	c := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(
		lease("medic", served.LeaseName, "medic-backup/medic-cht-backup"), lease("other", served.LeaseName, "other-backup/x"),
		lease("odd", served.LeaseName, "nobody"), lease("free", served.LeaseName, ""), lease("leader", "cht-backup", "leader/x")).Build()
	for name, tt := range map[string]struct {
		namespaces []string
		given      string
		want       string
	}{
		"its own controller's":                   {[]string{"medic"}, "", "medic-backup"},
		"the source's before the target's":       {[]string{"medic", "other"}, "", "medic-backup"},
		"the target's, of a source that is gone": {[]string{"gone", "other"}, "", "other-backup"},
		"the whole cluster's":                    {[]string{"served-by-all", ""}, "", defaultSystem},
		"what the user says":                     {[]string{"medic"}, "mine", "mine"},
		"what the user says, as is by custom":    {[]string{"medic"}, defaultSystem, defaultSystem},
		"a holder of another form":               {[]string{"odd", "free", "leader"}, "", defaultSystem},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Env{SystemNamespace: defaultSystem}
			if tt.given != "" {
				e.SystemNamespace, e.systemGiven = tt.given, true
			}
			if e.atHome(t.Context(), c, tt.namespaces...); e.SystemNamespace != tt.want {
				t.Errorf("%s, want %s", e.SystemNamespace, tt.want)
			}
		})
	}
}
