package restore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// So many drills at once, and in the order in which they were created.
func TestPlaces(t *testing.T) {
	const most, all = 3, 50
	p := newPlaces()
	key := func(i int) client.ObjectKey {
		return client.ObjectKey{Namespace: fmt.Sprintf("cht-%02d", i), Name: "d"}
	}
	created := func(i int) time.Time { return epoch.Add(time.Duration(i/2) * time.Second) } // two a second
	p.begun(key(all))                                                                       // one that runs since before the controller started
	running, done := map[client.ObjectKey]bool{key(all): true}, 0
	for i := all - 1; i >= 0; i-- { // the youngest comes first
		if p.take(key(i), created(i), most) {
			running[key(i)] = true
		}
	}
	if len(running) != most {
		t.Fatalf("%d run", len(running))
	}
	for next := 0; len(running) > 0; {
		for k := range running {
			p.leave(k, most)
			p.leave(k, most) // seen twice
			delete(running, k)
			done++
			break
		}
		if young := all - most; next < young-most && p.take(key(young), created(young), most) {
			t.Fatalf("the youngest got a place, when it was the turn of %s", key(next))
		}
		for len(p.wake) > 0 {
			woken := client.ObjectKeyFromObject((<-p.wake).Object)
			if woken != key(next) {
				t.Errorf("woken was %s, it is the turn of %s", woken, key(next))
			}
			if !p.take(woken, created(next), most) {
				t.Errorf("%s was woken and has no place", woken)
			}
			running[woken] = true
			next++
		}
		if len(running) > most {
			t.Fatalf("%d run", len(running))
		}
	}
	if done != all+1 || len(p.taken)+len(p.waiting) > 0 {
		t.Errorf("%d were done, %d have a place and %d wait", done, len(p.taken), len(p.waiting))
	}
}

// A drill waits without a limit, and goes on when another one has ended or is gone.
func TestDrillWaitsForItsTurn(t *testing.T) {
	for _, gone := range []bool{false, true} {
		first := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch), func(r *api.Restore) { r.Namespace, r.UID = "elsewhere", "restore-1" })
		_, child := scratched(first, api.PhaseVerifying, "", nil)
		child.Namespace = scratchName(first)
		second := restoreOf(drill(api.Drill{}), phase(api.PhasePending))
		b := newBench(t, first, child, second, gp3())
		b.put("u1", target, "elsewhere")
		b.ParallelDrills, b.drills = 1, newPlaces()
		b.placeTaken(first)
		for range 2 {
			b.now = b.now.Add(48 * time.Hour)
			got, err := b.reconcile()
			if c := ready(got); err != nil || got.Status.Phase != api.PhasePending || !strings.Contains(c.Message, "waiting for its turn: 1 drills run") {
				t.Fatalf("%s, %+v (%v)", got.Status.Phase, c, err)
			}
		}
		other := request()
		other.Namespace = "elsewhere"
		if gone {
			first.Finalizers = nil
			if err := b.Client.Update(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			if err := b.Client.Delete(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		} else {
			now := metav1.NewMicroTime(epoch)
			first.Status.Phase, first.Status.CompletionTime = api.PhaseCompleted, &now
			if err := b.Client.Status().Update(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Reconcile(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if len(b.drills.wake) != 1 {
			t.Error("nobody was woken")
		}
		if got, err := b.reconcile(); err != nil || got.Status.Phase != api.PhaseScratch {
			t.Errorf("%s (%v)", got.Status.Phase, err)
		}
	}
}
