package restore

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// A namespace goes only when it was made for the restore and holds nobody's work.
func TestRemoveNamespace(t *testing.T) {
	m := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: target, Name: name} }
	owned := func(apiVersion, kind string) metav1.ObjectMeta {
		o := m("owned")
		o.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "x", UID: "u"}}
		return o
	}
	token := m("default-token")
	token.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	for _, tt := range []struct {
		name       string
		createdFor string
		object     client.Object
		goes       bool
		says       string
	}{
		{"nothing left in it", "r", nil, true, "goes too"},
		{"nobody's annotation", "", nil, false, ""},
		{"created for another restore", "q", nil, false, ""},
		{"what every namespace has", "r", &corev1.ConfigMap{ObjectMeta: m("kube-root-ca.crt")}, true, "goes too"},
		{"the default account", "r", &corev1.ServiceAccount{ObjectMeta: m("default")}, true, "goes too"},
		{"its token", "r", &corev1.Secret{ObjectMeta: token}, true, "goes too"},
		{"a pod of a workload that just went", "r", &corev1.Pod{ObjectMeta: owned("apps/v1", "ReplicaSet")}, true, "goes too"},
		{"a pod by hand", "r", &corev1.Pod{ObjectMeta: m("shell")}, false, "Pod shell"},
		{"a pod of something unknown", "r", &corev1.Pod{ObjectMeta: owned("example.org/v1", "ReplicaSet")}, false, "Pod owned"},
		{"a secret by hand", "r", &corev1.Secret{ObjectMeta: m("by-hand")}, false, "Secret by-hand"},
		{"a claim", "r", &corev1.PersistentVolumeClaim{ObjectMeta: m("notes")}, false, "PersistentVolumeClaim notes"},
		{"a job", "r", &batchv1.CronJob{ObjectMeta: m("report")}, false, "CronJob report"},
		{"a backup of the clone", "r", &api.Backup{ObjectMeta: m("b")}, false, "Backup b"},
		{"another restore", "r", &api.Restore{ObjectMeta: m("q")}, false, "Restore q"},
		{"a label of another restore", "r", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "s", Labels: map[string]string{api.RestoreUIDLabel: "restore-6"}}}, false, "Secret s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			restore := ended(api.PhaseExpiring, ttl(time.Hour))
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: target, Annotations: map[string]string{api.CreatedForAnnotation: tt.createdFor}}}
			objects := []client.Object{restore, namespace}
			if tt.object != nil {
				objects = append(objects, tt.object)
			}
			b := newBench(t, objects...)
			got, err := b.reconcile()
			if err != nil || got.Status.Phase != api.PhaseExpired {
				t.Fatalf("%s, %v", got.Status.Phase, err)
			}
			if gone := len(b.there([]client.Object{namespace})) == 0; gone != tt.goes {
				t.Errorf("the namespace is gone: %v", gone)
			}
			if !strings.Contains(ready(got).Message, tt.says) || tt.says == "" && len(got.Status.Notes) > 0 {
				t.Errorf("message %q, notes %q", ready(got).Message, got.Status.Notes)
			}
		})
	}
}

// No annotation makes a namespace of the cluster's own a clone's.
func TestSystemNamespacesStay(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"default", "kube-system", home} {
		if !b.isSystem(name) {
			t.Errorf("%s could be deleted", name)
		}
	}
	if b.isSystem(target) {
		t.Error("a clone's namespace could not be deleted")
	}
}
