package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/testbed/cluster"
	"github.com/medic/cht-backup/integration/testbed/kube"
)

const (
	probeImage = "docker.io/library/testbed-probe:1"
	thawAfter  = 20 * time.Second
)

type run struct {
	bed       *cluster.Testbed
	client    *kube.Client
	namespace string
	out       io.Writer
	onDisk    volumeOnDisk
}

// Run proves it all, in a namespace of its own.
func Run(ctx context.Context, bed *cluster.Testbed, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	client, err := kube.New(bed.Kubeconfig())
	if err != nil {
		return err
	}
	r := &run{bed: bed, client: client, namespace: fmt.Sprintf("selftest-%d", time.Now().UnixNano()), out: out}
	if err := r.apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}"); err != nil {
		return err
	}
	failed := r.steps(ctx)
	// Also after a timeout: leave nothing.
	cleaning, done := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer done()
	return errors.Join(failed, r.step("everything removed", func() error {
		if err := client.Delete(cleaning, "/api/v1/namespaces/"+r.namespace); err != nil {
			return err
		}
		return client.WaitGone(cleaning, "/api/v1/namespaces", r.namespace)
	}), r.localPathGone(cleaning))
}

func (r *run) steps(ctx context.Context) error {
	const text = "written before the freeze"
	return firstFailure(
		func() error {
			return r.step("a claim binds", func() error {
				if _, err := r.client.Wait(ctx, r.in("serviceaccounts"), "default", func(kube.Object) bool { return true }); err != nil {
					return err
				}
				return r.claim(ctx, "data", "")
			})
		},
		func() error {
			return r.step("a pod with a claim is Ready", func() error { return r.pod(ctx, "writer", "data") })
		},
		func() error {
			return r.step("names resolve in a pod, exec works", func() error {
				out, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "resolve", "kubernetes.default.svc.cluster.local")
				if err == nil && strings.TrimSpace(out) != "10.96.0.1" {
					err = fmt.Errorf("resolved to %q", out)
				}
				return err
			})
		},
		func() error {
			return r.step("a failing command is told", func() error {
				if _, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "read", "/data/none"); err == nil {
					return errors.New("reading a file that is not there succeeded")
				}
				return nil
			})
		},
		func() error {
			return r.step("a write is on the volume", func() error {
				_, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "write", "/data/file", text)
				return err
			})
		},
		func() error { return r.frozenSnapshot(ctx) },
		func() error {
			return r.step("a write after the cut", func() error {
				_, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "write", "/data/file", "after")
				return err
			})
		},
		func() error {
			return r.step("a claim from the snapshot binds", func() error { return r.claim(ctx, "restored", "cut") })
		},
		func() error {
			return r.step("a pod with the restored claim is Ready", func() error { return r.pod(ctx, "reader", "restored") })
		},
		func() error {
			return r.step("the restored claim holds the bytes of the cut", func() error {
				out, err := r.client.Exec(ctx, r.namespace, "reader", "/probe", "read", "/data/file")
				if err == nil && out != text {
					err = fmt.Errorf("it holds %q", out)
				}
				return err
			})
		},
		func() error { return r.localPath(ctx) },
	)
}

// frozenSnapshot takes a snapshot while a container has the volume frozen.
func (r *run) frozenSnapshot(ctx context.Context) error {
	armed, err := r.bed.ArmThaw(thawAfter)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(armed, syscall.SIGKILL) }()
	if err := r.step("a container freezes its volume", func() error {
		_, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "freeze", "/data")
		return err
	}); err != nil {
		return err
	}
	failed := r.step("a snapshot of the frozen volume is ready", func() error { return r.snapshot(ctx, "cut") })
	return errors.Join(failed, r.step("the freeze held until its thaw", func() error {
		// Thawing what somebody thawed already is an error.
		_, err := r.client.Exec(ctx, r.namespace, "writer", "/probe", "thaw", "/data")
		return err
	}))
}

func (r *run) step(what string, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err := fmt.Fprintf(r.out, "ok %7.3fs  %s\n", time.Since(start).Seconds(), what)
	return err
}

func firstFailure(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) in(collection string) string {
	return "/api/v1/namespaces/" + r.namespace + "/" + collection
}

func (r *run) apply(ctx context.Context, manifest string) error {
	return r.client.Apply(ctx, strings.ReplaceAll(manifest, "NS", r.namespace))
}

func (r *run) claim(ctx context.Context, name, snapshot string) error {
	source := ""
	if snapshot != "" {
		source = "\n  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: " + snapshot + "}"
	}
	if err := r.apply(ctx, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: `+name+`, namespace: NS}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: loop
  resources: {requests: {storage: 256Mi}}`+source); err != nil {
		return err
	}
	_, err := r.client.Wait(ctx, r.in("persistentvolumeclaims"), name, func(o kube.Object) bool { return o.Text("status", "phase") == "Bound" })
	return err
}

func (r *run) pod(ctx context.Context, name, claim string) error {
	if err := r.apply(ctx, `
apiVersion: v1
kind: Pod
metadata: {name: `+name+`, namespace: NS}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: probe
    image: `+probeImage+`
    imagePullPolicy: Never
    securityContext: {capabilities: {drop: [ALL], add: [SYS_ADMIN]}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: `+claim+`}`); err != nil {
		return err
	}
	_, err := r.client.Wait(ctx, r.in("pods"), name, func(o kube.Object) bool { return kube.Condition(o, "Ready") })
	return err
}

func (r *run) snapshot(ctx context.Context, name string) error {
	if err := r.apply(ctx, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: `+name+`, namespace: NS}
spec:
  volumeSnapshotClassName: loop
  source: {persistentVolumeClaimName: data}`); err != nil {
		return err
	}
	_, err := r.client.Wait(ctx, "/apis/snapshot.storage.k8s.io/v1/namespaces/"+r.namespace+"/volumesnapshots", name,
		func(o kube.Object) bool { ready, _ := o.Field("status", "readyToUse").(bool); return ready })
	return err
}
