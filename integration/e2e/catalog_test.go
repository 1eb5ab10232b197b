package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// cataloged waits until a backup's record is in the catalog, which is that of the
// chart's defaults: on a volume, and without recipients.
func cataloged(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	for {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			t.Fatal(err)
		}
		is := meta.FindStatusCondition(b.Status.Conditions, api.ConditionCataloged)
		if is != nil && is.Status == metav1.ConditionTrue {
			s := b.Status.Catalog
			if s == nil || !strings.HasPrefix(s.URL, "file:///") || !strings.Contains(s.Key, "/"+b.Namespace+"/") || s.Secrets != api.SecretsLeftOut {
				t.Errorf("backup %s: catalog %+v", b.Name, s)
			}
			for _, words := range []string{"is lost with it", "cht-couchdb-credentials"} {
				if !strings.Contains(is.Message, words) {
					t.Errorf("backup %s: it does not say %q: %s", b.Name, words, is.Message)
				}
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("backup %s is not in the catalog: %+v", b.Name, is)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
