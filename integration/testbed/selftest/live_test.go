package selftest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/testbed/cluster"
	"github.com/medic/cht-backup/integration/testbed/image"
	"github.com/medic/cht-backup/integration/testbed/kube"
)

// live gives a namespace on a running testbed. These tests change what others on
// the same cluster see only by being slow.
func live(t *testing.T) *run {
	t.Helper()
	if os.Getenv("TESTBED_LIVE") == "" {
		t.Skip("set TESTBED_LIVE=1 where a testbed is up")
	}
	dir := os.Getenv("TESTBED_DIR")
	if dir == "" {
		dir = "/var/lib/cht-testbed"
	}
	bed := &cluster.Testbed{Dir: dir, Log: io.Discard}
	client, err := kube.New(bed.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	r := &run{bed: bed, client: client, namespace: fmt.Sprintf("live-%d", time.Now().UnixNano()), out: io.Discard}
	ctx := limit(t)
	if err := r.apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := client.Delete(ctx, "/api/v1/namespaces/"+r.namespace); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.Wait(ctx, r.in("serviceaccounts"), "default", func(kube.Object) bool { return true }); err != nil {
		t.Fatal(err)
	}
	return r
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// class makes a VolumeSnapshotClass with knobs.
func (r *run) class(ctx context.Context, t *testing.T, name, knobs string) {
	t.Helper()
	name = r.namespace + "-" + name
	check(t, r.apply(ctx, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: `+name+`}
driver: loop.csi.cht-backup.test
deletionPolicy: Delete
parameters: {`+knobs+`}`))
	t.Cleanup(func() {
		if err := r.client.Delete(context.Background(), "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/"+name); err != nil {
			t.Error(err)
		}
	})
}

const snapshots = "/apis/snapshot.storage.k8s.io/v1/namespaces/"

func (r *run) snapshotWith(ctx context.Context, name, claim, class string) error {
	return r.apply(ctx, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: `+name+`, namespace: NS}
spec:
  volumeSnapshotClassName: NS-`+class+`
  source: {persistentVolumeClaimName: `+claim+`}`)
}

func (r *run) waitSnapshot(ctx context.Context, name string, done func(kube.Object) bool) (kube.Object, error) {
	return r.client.Wait(ctx, snapshots+r.namespace+"/volumesnapshots", name, done)
}

// cutTime is the moment of the cut that the API shows, in full precision.
func (r *run) cutTime(ctx context.Context, t *testing.T, name string) time.Time {
	t.Helper()
	o, err := r.waitSnapshot(ctx, name, func(o kube.Object) bool { return o.Text("status", "creationTime") != "" })
	check(t, err)
	content, err := r.client.Get(ctx, "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/"+o.Text("status", "boundVolumeSnapshotContentName"))
	check(t, err)
	nanos, _ := content.Field("status", "creationTime").(float64)
	return time.Unix(0, int64(nanos))
}

func ready(o kube.Object) bool { is, _ := o.Field("status", "readyToUse").(bool); return is }

func TestStaggerSpreadsCuts(t *testing.T) {
	r, ctx := live(t), limit(t)
	names := []string{"a", "b", "c"}
	for _, n := range names {
		check(t, r.claim(ctx, n, ""))
	}
	spread := func(class string) (first, last time.Time) {
		for _, n := range names {
			check(t, r.snapshotWith(ctx, class+"-"+n, n, class))
		}
		for _, n := range names {
			at := r.cutTime(ctx, t, class+"-"+n)
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		return first, last
	}
	r.class(ctx, t, "plain", "")
	r.class(ctx, t, "spread", "cutStagger: 700ms")
	if first, last := spread("plain"); last.Sub(first) > 700*time.Millisecond {
		t.Errorf("plain cuts lie %s apart", last.Sub(first))
	}
	if first, last := spread("spread"); last.Sub(first) < 1390*time.Millisecond || last.Sub(first) > 3*time.Second {
		t.Errorf("three staggered cuts lie %s apart, want 1.4 s", last.Sub(first))
	}
}

func TestReadyComesLaterThanTheCut(t *testing.T) {
	r, ctx := live(t), limit(t)
	check(t, r.claim(ctx, "data", ""))
	r.class(ctx, t, "late", "cutLatency: 500ms, ackLatency: 500ms, readyLatency: 3s")
	start := time.Now()
	check(t, r.snapshotWith(ctx, "s", "data", "late"))
	cut := r.cutTime(ctx, t, "s")
	if wait := cut.Sub(start); wait < 500*time.Millisecond || wait > 2*time.Second {
		t.Errorf("cut after %s, want 0.5 s", wait)
	}
	if o, err := r.client.Get(ctx, snapshots+r.namespace+"/volumesnapshots/s"); err != nil || ready(o) {
		t.Errorf("ready %s after the cut: %v, %v", time.Since(cut), o.Field("status"), err)
	}
	_, err := r.waitSnapshot(ctx, "s", ready)
	check(t, err)
	if wait := time.Since(cut); wait < 3*time.Second || wait > 6*time.Second {
		t.Errorf("ready %s after the cut, want 3 s", wait)
	}
}

func TestFailuresReachTheSnapshot(t *testing.T) {
	r, ctx := live(t), limit(t)
	check(t, r.claim(ctx, "data", ""))
	r.class(ctx, t, "twice", "failCode: ResourceExhausted, failTimes: \"2\"")
	check(t, r.snapshotWith(ctx, "s", "data", "twice"))
	_, err := r.waitSnapshot(ctx, "s", func(o kube.Object) bool {
		return strings.Contains(o.Text("status", "error", "message"), "ResourceExhausted")
	})
	check(t, err)
	_, err = r.waitSnapshot(ctx, "s", ready)
	check(t, err)
	r.class(ctx, t, "hang", "hang: 2s, hangThen: cut")
	start := time.Now()
	check(t, r.snapshotWith(ctx, "h", "data", "hang"))
	if at := r.cutTime(ctx, t, "h"); at.Sub(start) < 2*time.Second {
		t.Errorf("a hung cut came after %s", at.Sub(start))
	}
}

func TestClasses(t *testing.T) {
	r, ctx := live(t), limit(t)
	for name, class := range map[string]string{"waits": "loop-wait", "nosnap": "nosnap", "xfs": "loop-xfs"} {
		check(t, r.apply(ctx, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: `+name+`, namespace: NS}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: `+class+`
  resources: {requests: {storage: 512Mi}}`))
	}
	bound := func(o kube.Object) bool { return o.Text("status", "phase") == "Bound" }
	for _, name := range []string{"nosnap", "xfs"} {
		_, err := r.client.Wait(ctx, r.in("persistentvolumeclaims"), name, bound)
		check(t, err)
	}
	if o, err := r.client.Get(ctx, r.in("persistentvolumeclaims")+"/waits"); err != nil || bound(o) {
		t.Errorf("bound before a consumer: %v, %v", o.Field("status"), err)
	}
	for _, name := range []string{"waits", "nosnap", "xfs"} {
		check(t, r.pod(ctx, name, name))
	}
}

// TestHostReachesPods loads an image of its own and talks to its pod from here, by
// the pod's address and through a Service.
func TestHostReachesPods(t *testing.T) {
	r, ctx := live(t), limit(t)
	probe := filepath.Join(t.TempDir(), "probe")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", probe, "../cmd/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	layer := &image.Layer{}
	check(t, layer.AddFile(probe, "/bin/probe", 0o755))
	file := filepath.Join(t.TempDir(), "server.tar")
	check(t, image.Build(file, "live-server:1", layer, image.Config{Entrypoint: []string{"/bin/probe", "serve"}, Cmd: []string{":8080", "hello"}, User: "1000"}))
	for range 2 { // loading again is no error
		if names, err := r.bed.LoadImage(ctx, file); err != nil || len(names) != 1 || names[0] != "docker.io/library/live-server:1" {
			t.Fatalf("%v, %v", names, err)
		}
	}
	check(t, r.apply(ctx, `
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: NS, labels: {app: server}}
spec:
  containers: [{name: server, image: "live-server:1", imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: NS}
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: 8080}]`))
	pod, err := r.client.Wait(ctx, r.in("pods"), "server", func(o kube.Object) bool { return kube.Condition(o, "Ready") })
	check(t, err)
	service, err := r.client.Get(ctx, r.in("services")+"/server")
	check(t, err)
	for _, address := range []string{pod.Text("status", "podIP") + ":8080", service.Text("spec", "clusterIP") + ":80"} {
		var got string
		// Ready is not yet reachable: kube-proxy lags.
		for range 100 {
			if got, err = ask(address); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil || got != "hello\n" {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

func ask(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	data, err := io.ReadAll(conn)
	return string(data), err
}
