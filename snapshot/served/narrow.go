package served

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Narrow is a client of a controller that has rights in some namespaces only. Whoever
// lists a kind in all namespaces gets what is in those: to ask for all would be refused.
// And what is in a namespace that is not there is not there, instead of forbidden: the
// rights have gone with it.
type Narrow struct {
	client.WithWatch
	// Namespaces in which there are rights.
	Namespaces []string
	// More are further namespaces in which a kind may be read.
	More map[string][]string
}

// List lists in each namespace where none is named. A namespace in which nothing may be
// read, since it or the rights in it are gone, has nothing.
func (n Narrow) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := &client.ListOptions{}
	options.ApplyOptions(opts)
	if options.Namespace != "" {
		err := n.WithWatch.List(ctx, list, opts...)
		if apierrors.IsForbidden(err) && n.absent(ctx, options.Namespace) {
			list.SetContinue("")
			return meta.SetList(list, nil)
		}
		return err
	}
	kind, err := n.GroupVersionKindFor(list)
	if err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	mapping, err := n.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return n.WithWatch.List(ctx, list, opts...)
	}
	var all []runtime.Object
	for _, namespace := range append(append([]string{}, n.Namespaces...), n.More[kind.Kind]...) {
		// All pages at once: a token is of one namespace.
		for token := ""; ; {
			err := n.WithWatch.List(ctx, list, append(append([]client.ListOption{}, opts...), client.InNamespace(namespace), client.Continue(token))...)
			if apierrors.IsForbidden(err) {
				break
			}
			if err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
			items, err := meta.ExtractList(list)
			if err != nil {
				return err
			}
			all = append(all, items...)
			if token = list.GetContinue(); token == "" {
				break
			}
		}
	}
	list.SetContinue("")
	list.SetResourceVersion("") // of none in particular: no watch can begin there
	list.SetRemainingItemCount(nil)
	return meta.SetList(list, all)
}

// Get gets one object.
func (n Narrow) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	err := n.WithWatch.Get(ctx, key, o, opts...)
	if apierrors.IsForbidden(err) && key.Namespace != "" && n.absent(ctx, key.Namespace) {
		kind, kindErr := n.GroupVersionKindFor(o)
		if kindErr != nil {
			return err
		}
		return apierrors.NewNotFound(schema.GroupResource{Group: kind.Group, Resource: kind.Kind}, key.Name)
	}
	return err
}

// absent tells whether a namespace is known not to be there.
func (n Narrow) absent(ctx context.Context, namespace string) bool {
	return apierrors.IsNotFound(n.WithWatch.Get(ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{}))
}
