package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/chart"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/snapshot/await"
)

// Where the product is installed.
const (
	ControllerNamespace = "cht-backup-system"
	ControllerName      = "cht-backup"
	controllerLabel     = "app.kubernetes.io/name"
)

const fieldOwner = client.FieldOwner("harness")

// InstallCRDs applies the chart's CustomResourceDefinitions and waits until the
// API server serves them.
func (c *Cluster) InstallCRDs(ctx context.Context) error {
	rendered, err := chart.Render(c.ChartFolder("cht-backup"), nil, chart.Release{Name: ControllerName, Namespace: ControllerNamespace})
	if err != nil {
		return err
	}
	if len(rendered.CRDs) == 0 {
		return errors.New("no CustomResourceDefinitions in charts/cht-backup/crds")
	}
	wanted := map[string]bool{}
	for _, o := range rendered.CRDs {
		if err := c.ServerSideApply(ctx, o); err != nil {
			return err
		}
		wanted[o.GetName()] = true
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
	return await.List(ctx, c.Client, list, func() (string, error) {
		missing := len(wanted)
		for i := range list.Items {
			if wanted[list.Items[i].GetName()] && conditionTrue(&list.Items[i], "Established") {
				missing--
			}
		}
		if missing > 0 {
			return fmt.Sprintf("%d CustomResourceDefinitions to be served", missing), nil
		}
		return "", nil
	})
}

func conditionTrue(o *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range conditions {
		if m, ok := one.(map[string]any); ok && m["type"] == kind && m["status"] == "True" {
			return true
		}
	}
	return false
}

// ServerSideApply makes the object what it is here, whatever it was. A typed object
// must have its kind set, or be known to the scheme.
func (c *Cluster) ServerSideApply(ctx context.Context, o client.Object) error {
	kind, err := c.Client.GroupVersionKindFor(o)
	if err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &u.Object); err != nil {
		return err
	}
	u.SetGroupVersionKind(kind)
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	if err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %s: %w", kind.Kind, client.ObjectKeyFromObject(o), err)
	}
	return nil
}

// InstallController installs the product and waits until it runs. Installing again
// replaces what changed.
func (c *Cluster) InstallController(ctx context.Context) error {
	if err := c.InstallCRDs(ctx); err != nil {
		return err
	}
	objects := c.Controller
	if objects == nil {
		objects = ControllerObjects
	}
	all, err := objects(c)
	if err != nil {
		return err
	}
	for _, o := range all {
		if err := c.ServerSideApply(ctx, o); err != nil {
			return err
		}
	}
	return cht.WaitRolledOut(ctx, c.Client, ControllerNamespace)
}

// ControllerPod is the pod of the controller that runs now.
func (c *Cluster) ControllerPod(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(c.ControllerHome()), client.MatchingLabels{controllerLabel: ControllerName}); err != nil {
		return nil, fmt.Errorf("list the controller's pods: %w", err)
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no controller runs in %s", c.ControllerHome())
}

// ControllerLog is what the controller has said since its container was started.
func (c *Cluster) ControllerLog(ctx context.Context) ([]byte, error) {
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		return nil, err
	}
	return c.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
}

// ControllerHome is the namespace of the controller, and of its records.
func (c *Cluster) ControllerHome() string { return cmp.Or(c.Home, ControllerNamespace) }
