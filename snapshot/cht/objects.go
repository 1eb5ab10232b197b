package cht

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

// ObjectKinds are the kinds an instance is made of, in the order in which a
// restore applies them. Claims are not among them: they come from snapshots.
var ObjectKinds = []schema.GroupVersionKind{
	{Version: "v1", Kind: "ServiceAccount"},
	{Version: "v1", Kind: "Secret"},
	{Version: "v1", Kind: "ConfigMap"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
	{Version: "v1", Kind: "Service"},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: "apps", Version: "v1", Kind: "StatefulSet"},
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"},
}

// Objects reads everything an instance is made of from its namespace, without
// what the cluster owns.
func Objects(ctx context.Context, c client.Reader, namespace string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, kind := range ObjectKinds {
		empty := &unstructured.UnstructuredList{}
		empty.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		for list, err := range paged.Pages(ctx, c, empty, client.InNamespace(namespace)) {
			if err != nil {
				return nil, fmt.Errorf("list %s of %s: %w", kind.Kind, namespace, err)
			}
			for i := range list.Items {
				if belongs(&list.Items[i]) {
					objects = append(objects, clean(&list.Items[i]))
				}
			}
		}
	}
	return objects, nil
}

// productLabel and productName mark what the product's own chart installs.
const (
	productLabel = "app.kubernetes.io/name"
	productName  = "cht-backup"
)

// belongs tells whether an object is the instance's own and not made by the
// cluster, by another object, by Helm for its own bookkeeping, or of the product
// itself, which may run in the instance's namespace: a clone must not have a
// controller of its own, and a record none of the records before it.
func belongs(o *unstructured.Unstructured) bool {
	_, ofBackup := o.GetLabels()[api.BackupUIDLabel]
	if len(o.GetOwnerReferences()) > 0 || ofBackup || o.GetLabels()[productLabel] == productName {
		return false
	}
	switch o.GetKind() {
	case "Secret":
		t, _, _ := unstructured.NestedString(o.Object, "type")
		return t != "kubernetes.io/service-account-token" && t != "helm.sh/release.v1"
	case "ConfigMap":
		return o.GetName() != "kube-root-ca.crt"
	case "ServiceAccount":
		return o.GetName() != "default"
	case "RoleBinding":
		return bindsOwn(o)
	}
	return true
}

// bindsOwn tells whether a RoleBinding grants something to an account of its own
// namespace by a Role of it, as the upgrade service's does. Those that let people in, or an
// account that deploys, by a ClusterRole such as admin, are the namespace's, not the
// instance's: a clone's has its own, and nobody may make one that grants more than he has.
func bindsOwn(o *unstructured.Unstructured) bool {
	if kind, _, _ := unstructured.NestedString(o.Object, "roleRef", "kind"); kind == "ClusterRole" {
		return false
	}
	subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
	return slices.ContainsFunc(subjects, func(one any) bool { return isOwn(one, o.GetNamespace()) })
}

// isOwn tells whether a subject is an account of that namespace.
func isOwn(subject any, namespace string) bool {
	s, ok := subject.(map[string]any)
	return ok && s["kind"] == "ServiceAccount" && (s["namespace"] == nil || s["namespace"] == "" || s["namespace"] == namespace)
}

// Own gives an object as a backup keeps it; false for one that a cluster, another
// object or Helm made, and for a kind that no restore applies. A restore asks too: what
// comes out of a bucket may be what somebody else put there.
func Own(o *unstructured.Unstructured) (*unstructured.Unstructured, bool) {
	if !slices.Contains(ObjectKinds, o.GroupVersionKind()) || !belongs(o) {
		return nil, false
	}
	return clean(o), true
}

// clean drops what the cluster wrote: identity, status, addresses.
func clean(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "finalizers"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	o.SetAnnotations(without(o.GetAnnotations(), "kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/"))
	// A restored instance that is backed up again must not carry the old restore's mark.
	o.SetLabels(without(o.GetLabels(), "backup.communityhealthtoolkit.org/"))
	switch o.GetKind() {
	case "Service":
		if ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP"); ip != "None" {
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIP")
			unstructured.RemoveNestedField(o.Object, "spec", "clusterIPs")
		}
		for _, field := range []string{"ipFamilies", "ipFamilyPolicy", "healthCheckNodePort", "internalTrafficPolicy"} {
			unstructured.RemoveNestedField(o.Object, "spec", field)
		}
		ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
		for _, p := range ports {
			if port, ok := p.(map[string]any); ok {
				delete(port, "nodePort") // chosen by the cluster; two services cannot have one
			}
		}
		if ports != nil {
			_ = unstructured.SetNestedSlice(o.Object, ports, "spec", "ports")
		}
	case "ServiceAccount":
		unstructured.RemoveNestedField(o.Object, "secrets")
	case "RoleBinding":
		// Others, who are let in by the same binding, are the namespace's too.
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		subjects = slices.DeleteFunc(subjects, func(one any) bool { return !isOwn(one, o.GetNamespace()) })
		_ = unstructured.SetNestedSlice(o.Object, subjects, "subjects")
	}
	return o
}

func without(m map[string]string, prefixes ...string) map[string]string {
	var kept map[string]string
	for k, v := range m {
		drop := false
		for _, p := range prefixes {
			drop = drop || strings.HasPrefix(k, p)
		}
		if !drop {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[k] = v
		}
	}
	return kept
}
