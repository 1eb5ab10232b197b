package restore

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestFindRecord(t *testing.T) {
	backup := func(uid types.UID, p api.Phase, allowed ...string) *api.Backup {
		return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: uid}, Spec: api.BackupSpec{AllowedNamespaces: allowed}, Status: api.BackupStatus{Phase: p}}
	}
	uid := func(u types.UID) func(*api.Restore) { return func(r *api.Restore) { r.Spec.Source.UID = u } }
	none := func(*api.Restore) {}
	for _, tt := range []struct {
		name    string
		records []types.UID
		live    *api.Backup
		change  func(*api.Restore)
		want    types.UID
		allows  string
		reason  string
		text    string
	}{
		{"the namespace is gone, the record kept", []types.UID{"u1"}, nil, none, "u1", "kept", "", ""},
		{"the Backup's own list counts while it lives", []types.UID{"u1"}, backup("u1", api.PhaseCompleted, "now"), none, "u1", "now", "", ""},
		{"a live Backup that allows nobody", []types.UID{"u1"}, backup("u1", api.PhaseCompleted), none, "u1", "", "", ""},
		{"no record", nil, nil, none, "", "", api.ReasonBackupNotFound, "cht/nightly"},
		{"a Backup without a record", nil, backup("u1", api.PhaseCompleted), none, "", "", api.ReasonBackupNotFound, ""},
		{"not finished", []types.UID{"u1"}, backup("u1", api.PhaseFinishing), none, "", "", api.ReasonBackupNotReady, "Finishing"},
		{"failed", nil, backup("u1", api.PhaseFailed), none, "", "", api.ReasonBackupNotReady, "Failed"},
		{"not begun", nil, backup("u1", ""), none, "", "", api.ReasonBackupNotReady, "Pending"},
		{"two of one name", []types.UID{"u1", "u2"}, nil, none, "", "", api.ReasonBackupNotFound, "u2"},
		{"two of one name, one named", []types.UID{"u1", "u2"}, nil, uid("u2"), "u2", "kept", "", ""},
		{"two of one name, the live one is meant", []types.UID{"u1", "u2"}, backup("u2", api.PhaseCompleted, "now"), none, "u2", "now", "", ""},
		{"the old one by its UID, though another lives", []types.UID{"u1", "u2"}, backup("u2", api.PhaseFinishing), uid("u1"), "u1", "kept", "", ""},
		{"a UID nobody has", []types.UID{"u1"}, nil, uid("u9"), "", "", api.ReasonBackupNotFound, ""},
		// Whoever makes the namespace and a Backup of that name again does not get at the old data.
		{"a Backup made again opens nothing", []types.UID{"u1"}, backup("u9", api.PhaseCompleted, "*"), none, "", "", api.ReasonBackupNotFound, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			if tt.live != nil {
				if err := b.Client.Create(t.Context(), tt.live); err != nil {
					t.Fatal(err)
				}
			}
			for _, u := range tt.records {
				b.put(u, "kept")
			}
			head, err := b.findRecord(t.Context(), restoreOf(tt.change))
			if e := reason.Of(err); tt.reason != "" && (e == nil || e.Reason != tt.reason || !e.Final || !strings.Contains(err.Error(), tt.text)) || tt.reason == "" && err != nil {
				t.Fatalf("got %+v, %v", head, err)
			}
			if head.UID != tt.want || strings.Join(head.AllowedNamespaces, ",") != tt.allows {
				t.Errorf("got %+v", head)
			}
		})
	}
}

// A record that contradicts itself ends the restore: it is read no better the next time.
func TestInvalidRecordIsRefused(t *testing.T) {
	b := newBench(t, restoreOf(func(*api.Restore) {}))
	record := recordOf(t, "u1")
	record.Nodes = append(record.Nodes, record.Nodes[0])
	if _, err := b.Records.Put(t.Context(), record, []string{"*"}); err != nil {
		t.Fatal(err)
	}
	var got *api.Restore
	var err error
	for range 4 { // it is accepted, found, refused
		if got, err = b.reconcile(); err != nil {
			t.Fatalf("it would be tried for ever: %v", err)
		}
	}
	if got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonRecordInvalid || !strings.Contains(ready(got).Message, "choose another backup") {
		t.Errorf("%s, %+v", got.Status.Phase, ready(got))
	}
}

func TestAllowed(t *testing.T) {
	for _, tt := range []struct {
		list []string
		into string
		want bool
	}{
		{nil, source, true}, {nil, target, false}, {[]string{target}, target, true}, {[]string{"*"}, target, true}, {[]string{"clone-2", "clon"}, target, false}, {[]string{""}, target, false},
	} {
		err := allowed(catalog.Head{Namespace: source, Name: "nightly", AllowedNamespaces: tt.list}, tt.into)
		if e := reason.Of(err); (err == nil) != tt.want || err != nil && (e == nil || e.Reason != api.ReasonNotAllowed) {
			t.Errorf("%v into %s: %v", tt.list, tt.into, err)
		}
	}
}

// ours marks an object as this restore's.
func ours[T client.Object](o T) T {
	o.SetLabels(map[string]string{api.RestoreUIDLabel: "restore-5"})
	return o
}

func TestPreflight(t *testing.T) {
	m := func(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	ingress := func(ns, host string) client.Object {
		return &networkingv1.Ingress{ObjectMeta: m(ns, "i"), Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "other.org"}, {Host: host}}}}
	}
	couch := func(name string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: m(target, name)}
		p.Labels = map[string]string{cht.ServiceLabel: "couchdb"}
		return p
	}
	mine := couch("mine")
	mine.Labels[api.RestoreUIDLabel] = "restore-5"
	other := func(name string, uid types.UID, age time.Duration, p api.Phase) client.Object {
		o := restoreOf(phase(p))
		o.Name, o.UID, o.CreationTimestamp = name, uid, metav1.NewTime(epoch.Add(-age))
		return o
	}
	backup := func(ns string, p api.Phase) client.Object {
		return &api.Backup{ObjectMeta: m(ns, "b"), Status: api.BackupStatus{Phase: p}}
	}
	for _, tt := range []struct {
		name   string
		with   []client.Object
		change func(*api.Restore)
		reason string
		text   string
	}{
		{"an empty namespace", nil, nil, "", ""},
		{"a claim of that name", []client.Object{&corev1.PersistentVolumeClaim{ObjectMeta: m(target, "couchdb-2-claim0")}}, nil, api.ReasonTargetNotEmpty, "couchdb-2-claim0"},
		{"a claim of that name, ours", []client.Object{ours(&corev1.PersistentVolumeClaim{ObjectMeta: m(target, "couchdb-2-claim0")})}, nil, "", ""},
		{"a claim elsewhere", []client.Object{&corev1.PersistentVolumeClaim{ObjectMeta: m("x", "couchdb-2-claim0")}}, nil, "", ""},
		{"a Secret of that name", []client.Object{&corev1.Secret{ObjectMeta: m(target, "cht-couchdb-credentials")}}, nil, api.ReasonTargetNotEmpty, "cht-couchdb-credentials"},
		{"an ingress of that name; a clone makes none", []client.Object{&networkingv1.Ingress{ObjectMeta: m(target, "api-ingress")}}, nil, "", ""},
		{"an ingress of that name, live", []client.Object{&networkingv1.Ingress{ObjectMeta: m(target, "api-ingress")}}, live, api.ReasonTargetNotEmpty, "api-ingress"},
		{"a CHT pod runs there", []client.Object{couch("p")}, nil, api.ReasonTargetNotEmpty, "runs CHT pod p"},
		{"our own CHT pod", []client.Object{mine}, nil, "", ""},
		{"the host is served elsewhere; a clone does not mind", []client.Object{ingress(source, "cht.example.org")}, nil, "", ""},
		{"the host is served elsewhere, live", []client.Object{ingress(source, "cht.example.org")}, live, api.ReasonIngressConflict, "cht/i"},
		{"another host is served elsewhere, live", []client.Object{ingress(source, "x.example.org")}, live, "", ""},
		{"an older restore", []client.Object{other("o", "restore-9", time.Hour, api.PhaseCouchDB)}, nil, api.ReasonConcurrentOperation, "restore o"},
		{"an older restore, ended", []client.Object{other("o", "restore-9", time.Hour, api.PhaseFailed)}, nil, "", ""},
		{"a younger restore waits for us", []client.Object{other("o", "restore-1", -time.Hour, api.PhasePending)}, nil, "", ""},
		{"of the same second, the lesser UID goes on", []client.Object{other("o", "restore-1", 0, api.PhasePending)}, nil, api.ReasonConcurrentOperation, "restore o"},
		{"of the same second, and ours is less", []client.Object{other("o", "restore-9", 0, api.PhasePending)}, nil, "", ""},
		{"a backup here", []client.Object{backup(target, api.PhaseCutting)}, nil, api.ReasonConcurrentOperation, "backup b"},
		{"a backup here, ended", []client.Object{backup(target, api.PhaseCompleted)}, nil, "", ""},
		{"a backup of the source", []client.Object{backup(source, api.PhaseCutting)}, nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change == nil {
				tt.change = func(*api.Restore) {}
			}
			restore := restoreOf(tt.change)
			b := newBench(t, append(tt.with, gp3(), restore)...)
			err := b.preflight(t.Context(), workOf(t, restore))
			if e := reason.Of(err); tt.reason == "" && err != nil || tt.reason != "" && (e == nil || e.Reason != tt.reason || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("got %v, want %q with %q", err, tt.reason, tt.text)
			}
		})
	}
	b := newBench(t)
	if e := reason.Of(b.preflight(t.Context(), workOf(t, restoreOf()))); e == nil || e.Reason != api.ReasonStorageClassMissing {
		t.Errorf("without the storage class: %+v", e)
	}
}
