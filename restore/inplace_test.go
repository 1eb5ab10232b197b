package restore

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

func zoned(zone string) client.Object {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-" + zone, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
}

func TestSameTopology(t *testing.T) {
	three := func() ([]catalog.Node, []cht.Place) {
		var nodes []catalog.Node
		var places []cht.Place
		for _, s := range []string{"couchdb-1", "couchdb-2", "couchdb-3"} {
			host := s + ".cht.svc.cluster.local"
			nodes = append(nodes, catalog.Node{Service: s, Claim: s + "-claim0", ErlangName: "couchdb@" + host, DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true})
			places = append(places, cht.Place{Service: s, Claim: s + "-claim0", Host: host, DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true})
		}
		return nodes, places
	}
	one := cht.Place{Service: "couchdb", Claim: "couchdb-claim0", DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true}
	for _, tt := range []struct {
		name   string
		change func(n []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place)
		says   []string
	}{
		{"the same", nil, nil},
		{"three into one", func(n []catalog.Node, _ []cht.Place) ([]catalog.Node, []cht.Place) { return n, []cht.Place{one} },
			[]string{"of 3 CouchDB nodes", "has 1 (couchdb)", "empty namespace"}},
		{"one into three", func(_ []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place) {
			return []catalog.Node{{Service: "couchdb", Claim: "couchdb-claim0"}}, p
		}, []string{"of 1 CouchDB nodes (couchdb)", "has 3"}},
		{"reordered by their names", func(n []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place) {
			p[0].Host, p[2].Host = p[2].Host, p[0].Host
			return n, p
		}, []string{"couchdb-1 was the Erlang node", "reordered", "SVC_NAME"}},
		{"reordered by their claims", func(n []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place) {
			p[0].Claim, p[2].Claim = p[2].Claim, p[0].Claim
			return n, p
		}, []string{"couchdb-1 mounted claim couchdb-1-claim0", "couchdb-3-claim0 now", "another node"}},
		{"data moved from the root", func(n []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place) {
			n[1].DataSubPath = ""
			return n, p
		}, []string{`data at ""`, `at "data"`, "subPath"}},
		{"configuration that left the volume", func(n []catalog.Node, p []cht.Place) ([]catalog.Node, []cht.Place) {
			p[1].ConfigSubPath, p[1].ConfigOnVolume = "", false
			return n, p
		}, []string{"configuration"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, p := three()
			if tt.change != nil {
				n, p = tt.change(n, p)
			}
			err := sameTopology(n, p)
			if e := reason.Of(err); (err == nil) != (tt.says == nil) || err != nil && (e == nil || e.Reason != api.ReasonTopologyMismatch) {
				t.Fatalf("%v", err)
			}
			for _, word := range tt.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("no %q in: %v", word, err)
				}
			}
		})
	}
}

// running is an instance of two nodes as recordOf has it, each on the volume that
// change makes of a plain one.
func running(change func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) bool) []client.Object {
	var objects []client.Object
	for _, s := range []string{"couchdb-1", "couchdb-2"} {
		name := s + "-claim0"
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: name, UID: "uid"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + s},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}}
		volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + s, Annotations: map[string]string{provisionedBy: "d"}},
			Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: source, Name: name, UID: "uid"}}}
		if change(volume, claim) {
			objects = append(objects, volume)
		}
		labels := map[string]string{cht.ServiceLabel: s}
		objects = append(objects, claim, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "cht-" + s}, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "couchdb", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: cht.DataMount, SubPath: "data"}, {Name: "v", MountPath: cht.ConfigMount, SubPath: "local.d"}}}},
				Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}}}}}})
	}
	return objects
}

// What volume is set aside, and what is said of it.
func TestPreflightInPlaceVolumes(t *testing.T) {
	byHand := func(source corev1.PersistentVolumeSource) func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) bool {
		return func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) bool {
			v.Annotations, v.Spec.PersistentVolumeSource = nil, source
			return true
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) bool
		reason string
		says   []string
	}{
		{"made by a class", func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) bool { return true }, "", nil},
		{"a static CSI volume", byHand(corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: "vol-1"}}), "",
			[]string{"claim couchdb-1-claim0 is on volume pv-couchdb-1, a volume of CSI driver ebs.csi.aws.com", "made by hand", "spec.volumeName"}},
		{"an in-tree EBS volume", byHand(corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2b/vol-1"}}), "",
			[]string{"an in-tree EBS volume (aws://eu-west-2b/vol-1)", "made by hand"}},
		{"an in-tree EBS volume that a class made", func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) bool {
			v.Annotations[provisionedBy] = "kubernetes.io/aws-ebs"
			v.Spec.AWSElasticBlockStore = &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-1"}
			return true
		}, "", nil},
		{"a claim that waits for the volume it names", func(_ *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
			c.Status.Phase = corev1.ClaimPending
			return true
		}, api.ReasonClaimNotBound, []string{"couchdb-1-claim0 is not bound", "no volume to set aside", "empty namespace"}},
		{"a volume that is gone", func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) bool { return false }, api.ReasonClaimNotBound, []string{"pv-couchdb-1, which does not exist", "empty namespace"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			restore := restoreOf(func(r *api.Restore) { r.Namespace, r.Spec.InPlace = source, &api.InPlace{} })
			for _, n := range []string{"couchdb-1", "couchdb-2"} {
				restore.Status.Volumes = append(restore.Status.Volumes, api.RestoredVolume{Node: n, Claim: n + "-claim0"})
			}
			b := newBench(t, running(tt.change)...)
			w := &work{restore: restore, record: recordOf(t, "u1"), source: recorded(t)}
			err := b.preflightInPlace(t.Context(), w)
			if e := reason.Of(err); (err == nil) != (tt.reason == "") || err != nil && (e == nil || e.Reason != tt.reason || !e.Final) {
				t.Fatalf("%v", err)
			}
			text := strings.Join(w.cautions, "\n")
			if err != nil {
				text = err.Error()
			} else if restore.Status.Volumes[0].SetAside != "pv-couchdb-1" || restore.Status.Volumes[1].SetAside != "pv-couchdb-2" || tt.says == nil && text != "" {
				t.Errorf("%+v, %s", restore.Status.Volumes, text)
			}
			for _, word := range tt.says {
				if !strings.Contains(text, word) {
					t.Errorf("no %q in: %s", word, text)
				}
			}
		})
	}
}

// The time that somebody took to agree to a plan is none of the recovery's.
func TestGoingOnFromAPlan(t *testing.T) {
	restore := restoreOf(phase(api.PhasePlanned), func(r *api.Restore) {
		start := metav1.NewMicroTime(epoch)
		r.Status.StartTime = &start
	})
	b := newBench(t, restore)
	b.now = epoch.Add(48 * time.Hour)
	got, err := b.reconcile()
	if err != nil || got.Status.Phase != api.PhasePending || !got.Status.StartTime.Time.Equal(b.now) {
		t.Errorf("%s since %v, %v", got.Status.Phase, got.Status.StartTime, err)
	}
}

func TestTouches(t *testing.T) {
	all := Steps(api.RestoreSpec{InPlace: &api.InPlace{}})
	if i := slices.IndexFunc(all, touches); all[i] != api.PhaseStopping {
		t.Errorf("the first step that touches the instance is %s", all[i])
	}
}
