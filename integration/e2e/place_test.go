package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/harness"
)

// What a place is that an instance is restored to: labels and taints of nodes,
// ingress classes, names of images. All of it goes with the test.

// labelled gives the one node labels until the test ends, and its name.
func labelled(ctx context.Context, t *testing.T, c *harness.Cluster, labels map[string]string) string {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil || len(nodes.Items) == 0 {
		t.Fatalf("%d nodes: %v", len(nodes.Items), err)
	}
	node := &nodes.Items[0]
	patch := func(value string) string {
		var all []string
		for k, v := range labels {
			if value != "" {
				v = value
			} else {
				v = fmt.Sprintf("%q", v)
			}
			all = append(all, fmt.Sprintf("%q:%s", k, v))
		}
		return `{"metadata":{"labels":{` + strings.Join(all, ",") + `}}}`
	}
	t.Cleanup(func() {
		if err := c.Client.Patch(context.Background(), node.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch("null")))); err != nil {
			t.Errorf("take the labels off node %s: %v", node.Name, err)
		}
	})
	merge(ctx, t, c, node.DeepCopy(), patch(""))
	return node.Name
}

// tainted gives a node a taint until the test ends.
func tainted(ctx context.Context, t *testing.T, c *harness.Cluster, name string, taint corev1.Taint) {
	t.Helper()
	change := func(ctx context.Context, change func([]corev1.Taint) []corev1.Taint) error {
		node, err := c.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		base := node.DeepCopy()
		node.Spec.Taints = change(node.Spec.Taints)
		return c.Client.Patch(ctx, node, client.MergeFrom(base))
	}
	t.Cleanup(func() {
		if err := change(context.Background(), func(all []corev1.Taint) []corev1.Taint {
			return slices.DeleteFunc(all, func(one corev1.Taint) bool { return one.Key == taint.Key })
		}); err != nil {
			t.Errorf("take the taint off node %s: %v", name, err)
		}
	})
	if err := change(ctx, func(all []corev1.Taint) []corev1.Taint { return append(all, taint) }); err != nil {
		t.Fatal(err)
	}
}

func ingressClass(ctx context.Context, t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "example.org/e2e"}}
	if err := c.Client.Create(ctx, class); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Client.Delete(context.Background(), class); err != nil {
			t.Errorf("delete ingress class %s: %v", name, err)
		}
	})
}

// mirrored gives the CHT's images that lie under from the names they have under to.
func mirrored(ctx context.Context, t *testing.T, c *harness.Cluster, from, to string) {
	t.Helper()
	for _, image := range []string{c.Images.CouchDB, c.Images.HAProxy, c.Images.Tools} {
		rest, ok := strings.CutPrefix(image, from+"/")
		if !ok {
			continue // a real CouchDB may be from anywhere
		}
		if _, err := c.Testbed(ctx, "image", "tag", image, to+"/"+rest); err != nil {
			t.Fatal(err)
		}
	}
}
