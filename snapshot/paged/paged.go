// Package paged lists objects page by page. In: an empty list of a kind. Out: pages, or
// all of it. It bounds what one answer of the API server holds, not what there may be.
package paged

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Size is how many objects a page has at most: a cluster may hold a hundred thousand
// Backups.
const Size = 500

// Each lists page by page and calls add with each, which may keep what it is
// given. empty is an empty list of the kind.
func Each[L client.ObjectList](ctx context.Context, c client.Reader, empty L, add func(page L), opts ...client.ListOption) error {
	for token := ""; ; {
		page := empty.DeepCopyObject().(L) //nolint:forcetypeassert // a copy is of the same type
		if err := c.List(ctx, page, append(opts, client.Limit(Size), client.Continue(token))...); err != nil {
			return err
		}
		add(page)
		if token = page.GetContinue(); token == "" {
			return nil
		}
	}
}

// All fills a list page by page: the API server shall not have to hold all in one
// answer.
func All(ctx context.Context, c client.Reader, list client.ObjectList, opts ...client.ListOption) error {
	var all []runtime.Object
	if err := Each(ctx, c, list, func(page client.ObjectList) {
		_ = meta.EachListItem(page, func(o runtime.Object) error { // which fails for no list of ours
			all = append(all, o)
			return nil
		})
	}, opts...); err != nil {
		return err
	}
	return meta.SetList(list, all)
}
