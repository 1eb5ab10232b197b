package e2e

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

// controller is the product as the chart installs it, with the catalog and EC2 where
// this test has them.
func (a *away) controller(c *harness.Cluster) ([]client.Object, error) {
	objects, err := harness.ControllerObjects(c)
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
		for name, value := range a.ec2.Env() {
			pod.Containers[0].Env = append(pod.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
		}
		if u.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&d); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// cataloged puts the backup's record into the catalog.
func (a *away) cataloged(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	catalogued, err := bucket.Open(ctx, a.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = catalogued.Close() }()
	if _, err := catalogued.Put(ctx, record, bucket.Writer{Cluster: "lost", Program: "test", Recipients: []string{a.identity.Recipient().String()}}); err != nil {
		t.Fatal(err)
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
