package hollow

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/await"
)

// Running waits until so many pods of a played node run.
func Running(ctx context.Context, c client.WithWatch, node string, n int) error {
	var pods corev1.PodList
	return await.List(ctx, c, &pods, func() (string, error) {
		ready := 0
		for i := range pods.Items {
			if pods.Items[i].Status.PodIP != "" {
				ready++
			}
		}
		if ready < n {
			return fmt.Sprintf("%d of %d pods of CouchDB to run", n-ready, n), nil
		}
		return "", nil
	}, client.MatchingFields{"spec.nodeName": node})
}
