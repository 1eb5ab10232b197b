package chart

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// cluster answers what templates look up, from objects that are given.
type cluster []*unstructured.Unstructured

// clusterScoped are the kinds without a namespace that a chart here looks up.
var clusterScoped = map[string]bool{"PersistentVolume": true, "Namespace": true, "StorageClass": true, "CustomResourceDefinition": true}

// GetClientFor gives what reads the objects of one kind.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	return lookedUp{objects: c, apiVersion: apiVersion, kind: kind}, !clusterScoped[kind], nil
}

// lookedUp is the part of a client that a lookup uses; the rest is nil, and a panic.
type lookedUp struct {
	dynamic.NamespaceableResourceInterface
	objects                     cluster
	apiVersion, kind, namespace string
}

func (l lookedUp) Namespace(namespace string) dynamic.ResourceInterface {
	l.namespace = namespace
	return l
}

func (l lookedUp) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	for _, o := range l.objects {
		if l.holds(o) && o.GetName() == name {
			return o, nil
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: l.kind}, name)
}

func (l lookedUp) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{}
	for _, o := range l.objects {
		if l.holds(o) {
			list.Items = append(list.Items, *o)
		}
	}
	return list, nil
}

func (l lookedUp) holds(o *unstructured.Unstructured) bool {
	return o.GetAPIVersion() == l.apiVersion && o.GetKind() == l.kind && (l.namespace == "" || o.GetNamespace() == l.namespace)
}
