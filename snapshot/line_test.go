package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/queue"
)

// fleet is the instance and a due backup in each of the namespaces.
func fleet(driver string, due map[string]time.Duration) []client.Object {
	var all []client.Object
	for namespace, after := range due {
		for _, o := range instance() {
			switch o := o.(type) {
			case *corev1.Namespace:
				o.Name = namespace
			case *corev1.PersistentVolume:
				o.Name = "pv-" + namespace
				o.Spec.CSI.Driver, o.Spec.ClaimRef.Namespace = driver, namespace
			case *corev1.PersistentVolumeClaim:
				o.Namespace, o.Spec.VolumeName = namespace, "pv-"+namespace
			default:
				o.SetNamespace(namespace)
			}
			all = append(all, o)
		}
		all = append(all, backup(func(b *api.Backup) {
			b.Namespace, b.UID = namespace, types.UID("uid-"+namespace)
			b.Annotations = map[string]string{api.ScheduledAtAnnotation: epoch.Add(after).Format(time.RFC3339)}
		}))
	}
	return all
}

// turn reconciles the backup of one namespace and gives what is stored.
func (b *bench) turn(namespace string) *api.Backup {
	b.t.Helper()
	key := client.ObjectKey{Namespace: namespace, Name: "nightly"}
	if _, err := b.Reconcile(b.t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		b.t.Fatalf("%s: %v", namespace, err)
	}
	var stored api.Backup
	if err := b.objects.Get(b.t.Context(), key, &stored); client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	return &stored
}

func (b *bench) wantTurn(namespace string, phase api.Phase, says string) {
	b.t.Helper()
	if got := b.turn(namespace); got.Status.Phase != phase || !strings.Contains(ready(got).Message, says) {
		b.t.Errorf("%s is %s, says %q; want %s, %q", namespace, got.Status.Phase, ready(got).Message, phase, says)
	}
}

func TestTheLineIsKept(t *testing.T) {
	b := newBench(t, fleet("d", map[string]time.Duration{"third": time.Hour, "first": 0, "second": time.Minute})...)
	b.Parallel = queue.Limits{Cluster: 1, Driver: 1}
	var woken []string
	b.work = func(key types.NamespacedName) { woken = append(woken, key.Namespace) }
	b.snaps.neverReady = true

	// Whatever comes first, who is due first runs first: a controller that starts has
	// read them all.
	b.wantTurn("third", api.PhasePending, "waiting: 1 of 1 backups run, 2nd in line")
	b.wantTurn("second", api.PhasePending, "1st in line")
	b.wantTurn("first", api.PhaseFinishing, "")
	// The place in the cluster went on; the one at the driver did not.
	b.wantTurn("second", api.PhasePending, "1st in line") // as told: not each time
	b.wantTurn("third", api.PhasePending, "2nd in line")
	if strings.Join(woken, " ") != "first second third" {
		t.Errorf("woke %v", woken)
	}
	woken = nil
	b.now = b.now.Add(time.Hour)
	b.wantTurn("second", api.PhasePending, "waiting for driver d: 1 of 1 backups are being copied, 1st in line")
	// Ready: the next is woken, and once that is deleted the one after it.
	b.snaps.neverReady = false
	b.wantTurn("first", api.PhaseCompleted, "")
	if strings.Join(woken, " ") != "second" {
		t.Errorf("woke %v", woken)
	}
	if err := b.objects.Delete(t.Context(), backup(func(b *api.Backup) { b.Namespace = "second" })); err != nil {
		t.Fatal(err)
	}
	b.turn("second")
	if strings.Join(woken, " ") != "second third" {
		t.Errorf("woke %v", woken)
	}
	if b.snaps.cuts != 1 {
		t.Errorf("%d cuts", b.snaps.cuts)
	}
	b.wantTurn("third", api.PhaseFinishing, "")
	if got := b.turn("third"); got.Status.Phase != api.PhaseCompleted || !got.Status.StartTime.Time.Equal(b.now) {
		t.Errorf("%s, begun %v", got.Status.Phase, got.Status.StartTime)
	}
}

func TestARestartKnowsWhoCopies(t *testing.T) {
	objects := fleet("d", map[string]time.Duration{"waits": 0, "copies": time.Hour})
	for _, o := range objects {
		if b, ok := o.(*api.Backup); ok && b.Namespace == "copies" {
			in(api.PhaseFinishing, 1)(b)
			b.Status.QuiesceMode = api.QuiesceNone
			b.Status.Volumes = []api.VolumeStatus{{Node: "couchdb", Driver: "d", Content: "c"}}
			b.Status.Timeline = &api.Timeline{Released: metav1.NewMicroTime(epoch)}
		}
	}
	b := newBench(t, objects...)
	b.Parallel = queue.Limits{Cluster: 4, Driver: 1}
	b.wantTurn("waits", api.PhasePending, "waiting for driver d: 1 of 1")
	b.wantTurn("copies", api.PhaseCompleted, "")
	b.wantTurn("waits", api.PhaseFinishing, "")
}

// Each way out of a turn gives the place back.
func TestNoPlaceIsLost(t *testing.T) {
	hiccup := errors.New("etcd is slow")
	for name, arrange := range map[string]func(b *bench, fail *func(client.Object) error){
		"the cut fails":              func(b *bench, _ *func(client.Object) error) { b.snaps.cutErr = hiccup },
		"the instance is not read":   func(b *bench, fail *func(client.Object) error) { *fail = onlyFor[*corev1.Secret](hiccup) },
		"the backup is not read":     func(b *bench, fail *func(client.Object) error) { *fail = onlyFor[*api.Backup](hiccup) },
		"the transport panics":       func(b *bench, _ *func(client.Object) error) { b.Transport = nil; b.Snapshotter = nil },
		"the instance has no volume": func(b *bench, fail *func(client.Object) error) { *fail = onlyFor[*corev1.PersistentVolume](hiccup) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fleet("d", map[string]time.Duration{"first": 0, "second": time.Hour})...)
			b.Parallel = queue.Limits{Cluster: 1, Driver: 1}
			var fail func(client.Object) error
			b.Client = interceptor.NewClient(b.objects, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if fail != nil && (key.Namespace == "first" || key.Name == "pv-first") {
					if err := fail(o); err != nil {
						return err
					}
				}
				return c.Get(ctx, key, o, opts...)
			}})
			if err := b.lineUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			arrange(b, &fail)
			woken := false
			b.work = func(key types.NamespacedName) { woken = woken || key.Namespace == "second" }
			func() {
				defer func() { _ = recover() }()
				_, _ = b.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "first", Name: "nightly"}})
			}()
			if !woken {
				t.Error("the place was not given on")
			}
		})
	}
}

func onlyFor[T client.Object](err error) func(client.Object) error {
	return func(o client.Object) error {
		if _, is := o.(T); is {
			return err
		}
		return nil
	}
}

func TestASafetyBackupGoesFirst(t *testing.T) {
	objects := fleet("d", map[string]time.Duration{"runs": 0, "waits": time.Minute})
	safety := fleet("d", map[string]time.Duration{"safety": time.Hour})
	safety[len(safety)-1].SetLabels(map[string]string{api.RestoreUIDLabel: "u"})
	b := newBench(t, append(objects, safety...)...)
	b.Parallel = queue.Limits{Cluster: 1, Driver: 9}
	b.wantTurn("runs", api.PhasePending, "1 of 1 backups run") // the safety backup has the place already
	b.wantTurn("safety", api.PhaseFinishing, "")
	b.wantTurn("runs", api.PhaseFinishing, "")
}

func TestWhatWakes(t *testing.T) {
	toBeWorkedOn := (&Reconciler{}).toBeWorkedOn
	now := metav1.NewTime(epoch)
	changed := func(change func(*api.Backup)) event.UpdateEvent {
		is := backup()
		change(is)
		return event.UpdateEvent{ObjectOld: backup(), ObjectNew: is}
	}
	for name, tt := range map[string]struct{ got, want bool }{
		"a new one":            {toBeWorkedOn().Create(event.CreateEvent{Object: backup()}), true},
		"one under way":        {toBeWorkedOn().Create(event.CreateEvent{Object: backup(in(api.PhaseFinishing, 1))}), true},
		"one that has ended":   {toBeWorkedOn().Create(event.CreateEvent{Object: backup(in(api.PhaseCompleted, 1))}), false},
		"ended and deleted":    {toBeWorkedOn().Create(event.CreateEvent{Object: backup(in(api.PhaseCompleted, 1), func(b *api.Backup) { b.DeletionTimestamp = &now })}), true},
		"our own status":       {toBeWorkedOn().Update(changed(in(api.PhaseCutting, 1))), false},
		"its deletion":         {toBeWorkedOn().Update(changed(func(b *api.Backup) { b.DeletionTimestamp = &now })), true},
		"its spec":             {toBeWorkedOn().Update(changed(func(b *api.Backup) { b.Generation = 9 })), true},
		"another of the name":  {toBeWorkedOn().Update(changed(func(b *api.Backup) { b.UID = "other" })), true},
		"gone":                 {toBeWorkedOn().Delete(event.DeleteEvent{Object: backup()}), true},
		"a pod that runs":      {gone().Update(event.UpdateEvent{}), false},
		"a pod that is gone":   {gone().Delete(event.DeleteEvent{}), true},
		"a snapshot is ready":  {storageSpoke().Update(event.UpdateEvent{ObjectOld: spoke(false, ""), ObjectNew: spoke(true, "")}), true},
		"a snapshot failed":    {storageSpoke().Update(event.UpdateEvent{ObjectOld: spoke(false, ""), ObjectNew: spoke(false, "x")}), true},
		"a snapshot is bound":  {storageSpoke().Update(event.UpdateEvent{ObjectOld: &snapv1.VolumeSnapshot{}, ObjectNew: spoke(false, "")}), false},
		"a snapshot is gone":   {storageSpoke().Delete(event.DeleteEvent{}), true},
		"a snapshot there was": {storageSpoke().Create(event.CreateEvent{}), false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %t", name, tt.got)
		}
	}
}

func spoke(ready bool, failure string) *snapv1.VolumeSnapshot {
	s := &snapv1.VolumeSnapshot{Status: &snapv1.VolumeSnapshotStatus{ReadyToUse: &ready}}
	if failure != "" {
		s.Status.Error = &snapv1.VolumeSnapshotError{Message: &failure}
	}
	o, _ := slimSnapshot(s)
	return o.(*snapv1.VolumeSnapshot)
}
