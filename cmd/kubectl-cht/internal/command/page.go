package command

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pageSize bounds what is in memory at once: a cluster may hold a hundred thousand
// Backups.
const pageSize = 500

// eachPage lists page by page and calls add with each, which may keep what it is
// given. empty is an empty list of the kind.
func eachPage[L client.ObjectList](ctx context.Context, c client.Client, empty L, add func(page L), opts ...client.ListOption) error {
	for token := ""; ; {
		page := empty.DeepCopyObject().(L) //nolint:forcetypeassert // a copy is of the same type
		if err := c.List(ctx, page, append(opts, client.Limit(pageSize), client.Continue(token))...); err != nil {
			return err
		}
		add(page)
		if token = page.GetContinue(); token == "" {
			return nil
		}
	}
}
