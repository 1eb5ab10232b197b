package rate

import (
	"context"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

type paid struct{}

// Paid marks calls that were taken in advance, and that nothing may hold back.
func Paid(ctx context.Context) context.Context { return context.WithValue(ctx, paid{}, true) }

// Mutating tells whether a call changes something, by its name.
func Mutating(call string) bool {
	for _, reads := range []string{"Describe", "Get", "List", "Search"} {
		if strings.HasPrefix(call, reads) {
			return false
		}
	}
	return true
}

// Middleware takes each call that changes something, and each try of it, out of its
// bucket, so that no call can be forgotten.
func (b *Buckets) Middleware(region string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		wait := middleware.FinalizeMiddlewareFunc("cht-backup/rate", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			call := awsmiddleware.GetOperationName(ctx)
			if ctx.Value(paid{}) == nil && Mutating(call) {
				if _, err := b.Take(ctx, region, call, 1); err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, err
				}
			}
			return next.HandleFinalize(ctx, in)
		})
		if _, sends := stack.Finalize.Get("Retry"); !sends {
			return nil // a URL is only signed, as CopySnapshot does with one for the other Region
		}
		// After Retry, so that it holds for each try, and before the signing, whose time
		// must be that of the call.
		return stack.Finalize.Insert(wait, "Retry", middleware.After)
	}
}
