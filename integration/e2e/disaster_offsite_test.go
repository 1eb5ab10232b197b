package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// inPod is where the controller sees the catalog's directory.
const inPod = "/offsite"

// controller is the product as the chart installs it, with the catalog and EC2 where
// this test has them.
func (a *away) controller(c *harness.Cluster) ([]client.Object, error) {
	var env []any
	for name, value := range a.ec2.Env() {
		env = append(env, map[string]any{"name": name, "value": value})
	}
	objects, err := harness.ControllerWith(map[string]any{"controller": map[string]any{
		"env": env, "catalog": map[string]any{"url": "file://" + inPod, "recipients": []any{a.identity.Recipient().String()}},
	}})(c)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		u, ok := o.(*unstructured.Unstructured)
		if !ok || u.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
			return nil, err
		}
		pod := &d.Spec.Template.Spec
		pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "offsite", MountPath: inPod})
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "offsite", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: a.dir}}})
		if u.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&d); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// cataloged waits until the backup's record is in the catalog, its Secrets sealed.
func (a *away) cataloged(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	b, err := c.WaitBackup(ctx, b, time.Minute, func(b *api.Backup) bool {
		return meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionCataloged)
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.Status.Catalog == nil || b.Status.Catalog.Secrets != api.SecretsSealed {
		t.Fatalf("the record is in the catalog as %+v", b.Status.Catalog)
	}
}

// bringBack restores a CHT that was lost, by one command.
func (a *away) bringBack(ctx context.Context, t *testing.T, c *harness.Cluster, was *lost, target string) {
	t.Helper()
	p := built(ctx, t, c)
	args := fmt.Sprintf("restore --from %s/%s --to %s --go-live --identity %s --name back --yes", a.url, was.Namespace, target, a.file)
	code, stdout, stderr := p.run(ctx, t, args)
	t.Logf("kubectl cht %s\n%s%s", args, stdout, stderr)
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
}

// fromTags restores once more without the catalog and without any record: the volumes
// are known by the tags of their snapshots, the objects from manifests, and the shard
// maps are made from the files on the volumes.
func (a *away) fromTags(ctx context.Context, t *testing.T, c *harness.Cluster, was *lost) {
	t.Helper()
	heads, err := records(c).List(ctx, was.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		if err := records(c).Delete(ctx, h.UID); err != nil {
			t.Fatal(err)
		}
	}
	clone := c.TempNamespace(t, "tags")
	p := built(ctx, t, c)
	args := fmt.Sprintf("restore --from %s --from-tags %s --objects %s --to %s --name tags --yes", was.Namespace, harness.EBSRegion, manifests(t, c, was.Options), clone)
	cmd, stdout, stderr := p.command(ctx, args)
	cmd.Env = os.Environ()
	for name, value := range a.ec2.Env() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	code := exited(t, cmd.Run())
	t.Logf("kubectl cht %s\n%s%s", args, stdout.String(), stderr.String())
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	sameAgain(ctx, t, c, was, clone)
}

// manifests writes an instance's objects into a file, as `helm template` would.
func manifests(t *testing.T, c *harness.Cluster, o cht.Options) string {
	t.Helper()
	objects, err := cht.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, object := range objects {
		kind, err := c.Client.GroupVersionKindFor(object)
		if err != nil {
			t.Fatal(err)
		}
		object.GetObjectKind().SetGroupVersionKind(kind)
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(all, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
