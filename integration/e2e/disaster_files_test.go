package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/file/keyring"
)

// repositoryKey gives the Secret with which the controller opens a repository of files,
// nil for none.
func repositoryKey(ctx context.Context, t *testing.T, c *harness.Cluster, id string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.ControllerHome(), Name: keyring.SecretName(id)}, &s)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return &s
}

// secretLines are the parts of a key that nobody may see.
func secretLines(s *corev1.Secret) (lines []string) {
	for _, line := range strings.Fields(string(s.Data[keyring.KeyData])) {
		if len(line) > 30 {
			lines = append(lines, line)
		}
	}
	return lines
}

// madeOfFiles tells that what was brought back is of files, of which nothing but the
// catalog and the identity was left.
func madeOfFiles(ctx context.Context, t *testing.T, c *harness.Cluster, target string) {
	t.Helper()
	var r api.Restore
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: target, Name: "back"}, &r); err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Status.Volumes {
		if v.Filled == nil || v.Filled.Done.Cmp(v.Filled.Total) != 0 || v.Filled.Total.IsZero() {
			t.Errorf("the volume of %s was filled as %+v", v.Node, v.Filled)
		}
	}
}

// keyGone waits until the key that came for a restore is taken back after it.
func keyGone(ctx context.Context, t *testing.T, c *harness.Cluster, id string) {
	t.Helper()
	for repositoryKey(ctx, t, c, id) != nil {
		if ctx.Err() != nil {
			t.Fatalf("the key of repository %s, which came for a restore that has ended, is still there", id)
		}
		time.Sleep(time.Second)
	}
}
