package restore

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

// scoped gives what of a backup's objects a restore of that scope makes. Scope
// CouchDB: CouchDB's workloads, the Services in front of them, and what their pods
// name.
func scoped(scope api.Scope, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if scope != api.ScopeCouchDB {
		return objects, nil
	}
	named := map[string]bool{objectKey("Secret", cht.CredentialsSecret): true}
	for _, o := range objects {
		if !isWorkload(o) || !cht.IsCouchDB(component(o)) {
			continue
		}
		pod, err := podSpec(o)
		if err != nil {
			return nil, err
		}
		nameAll(pod, named)
	}
	for _, o := range objects {
		if o.GetKind() == "ServiceAccount" && named[objectKey(o.GetKind(), o.GetName())] {
			pulls, _, _ := unstructured.NestedSlice(o.Object, "imagePullSecrets")
			for _, p := range pulls {
				if m, ok := p.(map[string]any); ok {
					name, _ := m["name"].(string)
					named[objectKey("Secret", name)] = true
				}
			}
		}
	}
	var kept []*unstructured.Unstructured
	for _, o := range objects {
		keep := named[objectKey(o.GetKind(), o.GetName())]
		switch {
		case isWorkload(o):
			keep = cht.IsCouchDB(component(o))
		case o.GetKind() == "Service":
			selector, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
			keep = cht.IsCouchDB(selector[cht.ServiceLabel])
		}
		if keep {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// closed gives a clone's objects with every Service reachable within the cluster
// only: a load balancer is a way in that no NetworkPolicy need stand before.
func closed(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range objects {
		t, _, _ := unstructured.NestedString(o.Object, "spec", "type")
		if ips, _, _ := unstructured.NestedSlice(o.Object, "spec", "externalIPs"); o.GetKind() == "Service" &&
			(t == string(corev1.ServiceTypeLoadBalancer) || t == string(corev1.ServiceTypeNodePort) || len(ips) > 0) {
			o = o.DeepCopy()
			for _, field := range []string{"externalIPs", "externalTrafficPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges"} {
				unstructured.RemoveNestedField(o.Object, "spec", field)
			}
			_ = unstructured.SetNestedField(o.Object, string(corev1.ServiceTypeClusterIP), "spec", "type")
		}
		out = append(out, o)
	}
	return out
}

func objectKey(kind, name string) string { return kind + "/" + name }

// podSpec is that of a workload's pods.
func podSpec(o *unstructured.Unstructured) (corev1.PodSpec, error) {
	raw, _, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	var spec corev1.PodSpec
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec)
	}
	if err != nil {
		return spec, fmt.Errorf("pods of %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return spec, nil
}

// nameAll notes the Secrets, ConfigMaps and the ServiceAccount that a pod cannot
// start without.
func nameAll(pod corev1.PodSpec, named map[string]bool) {
	secret := func(name string) { named[objectKey("Secret", name)] = true }
	config := func(name string) { named[objectKey("ConfigMap", name)] = true }
	named[objectKey("ServiceAccount", pod.ServiceAccountName)] = true
	for _, p := range pod.ImagePullSecrets {
		secret(p.Name)
	}
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for _, c := range list {
			for _, from := range c.EnvFrom {
				if from.SecretRef != nil {
					secret(from.SecretRef.Name)
				}
				if from.ConfigMapRef != nil {
					config(from.ConfigMapRef.Name)
				}
			}
			for _, env := range c.Env {
				if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
					secret(env.ValueFrom.SecretKeyRef.Name)
				}
				if env.ValueFrom != nil && env.ValueFrom.ConfigMapKeyRef != nil {
					config(env.ValueFrom.ConfigMapKeyRef.Name)
				}
			}
		}
	}
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			secret(v.Secret.SecretName)
		}
		if v.ConfigMap != nil {
			config(v.ConfigMap.Name)
		}
		if v.Projected == nil {
			continue
		}
		for _, from := range v.Projected.Sources {
			if from.Secret != nil {
				secret(from.Secret.Name)
			}
			if from.ConfigMap != nil {
				config(from.ConfigMap.Name)
			}
		}
	}
}
