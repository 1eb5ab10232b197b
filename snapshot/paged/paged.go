// Package paged lists objects page by page. In: an empty list of a kind. Out: pages, or
// all of it. It bounds what one answer of the API server holds, not what there may be.
package paged

import (
	"context"
	"iter"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Size is how many objects a page has at most: a cluster may hold a hundred thousand
// Backups.
const Size = 500

// Pages lists page by page; what a page holds may be kept. empty is an empty list of the
// kind. An error ends it. Among the options may be another limit than Size.
func Pages[L client.ObjectList](ctx context.Context, c client.Reader, empty L, opts ...client.ListOption) iter.Seq2[L, error] {
	return func(yield func(L, error) bool) {
		for token, more := "", true; more; more = token != "" {
			page := empty.DeepCopyObject().(L) //nolint:forcetypeassert // a copy is of the same type
			all := append(append([]client.ListOption{client.Limit(Size)}, opts...), client.Continue(token))
			if err := c.List(ctx, page, all...); err != nil {
				yield(empty, err)
				return
			}
			if !yield(page, nil) {
				return
			}
			token = page.GetContinue()
		}
	}
}

// Each calls add with each page.
func Each[L client.ObjectList](ctx context.Context, c client.Reader, empty L, add func(page L), opts ...client.ListOption) error {
	for page, err := range Pages(ctx, c, empty, opts...) {
		if err != nil {
			return err
		}
		add(page)
	}
	return nil
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
