package restore

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// What is there under the name of something to be made is taken over only if this very
// restore made it: what another restore made is another's, too.
func TestCreateTakesOverItsOwnOnly(t *testing.T) {
	restore := restoreOf()
	for made, refused := range map[string]bool{string(restore.UID): false, "another-restore": true, "": true} {
		there := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "cht-secret"}}
		if made != "" {
			there.Labels = map[string]string{api.RestoreUIDLabel: made}
		}
		b := newBench(t, there)
		err := b.create(t.Context(), restore, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "cht-secret"}})
		if e := reason.Of(err); refused && (e == nil || e.Reason != api.ReasonTargetNotEmpty) || !refused && err != nil {
			t.Errorf("made by %q: %v", made, err)
		}
	}
}

// A claim that was deleted and made again under its name is another claim: the volume of
// the first is not its own, and is not deleted with it.
func TestBoundTo(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "couchdb-1-claim0", UID: "new"}}
	for uid, want := range map[string]bool{"new": true, "old": false, "": false} {
		v := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: target, Name: claim.Name, UID: types.UID(uid)}}}
		if got := boundTo(v, claim); got != want {
			t.Errorf("volume of claim %q: %v", uid, got)
		}
	}
	if boundTo(&corev1.PersistentVolume{}, claim) {
		t.Error("a volume of no claim")
	}
}
