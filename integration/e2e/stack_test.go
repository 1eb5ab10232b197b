package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// stack is a CHT that Helm installs from charts/cht, with a controller of its own.
type stack struct {
	cht.Options
	c       *harness.Cluster
	release string
	// alsoServes is a further namespace that its controller is for.
	alsoServes string
}

// helmWithin bounds one action of Helm, so that a pod that never gets ready is named soon.
const helmWithin = 2 * time.Minute

// controllerOf is where the chart puts the controller of a CHT.
func controllerOf(namespace string) string { return namespace + "-backup" }

// newStack prepares a fresh namespace for a release, and takes both it and the
// controller's away after the test.
func newStack(t *testing.T, c *harness.Cluster, nodes int) *stack {
	t.Helper()
	s := &stack{Options: cht.Defaults(c.TempNamespace(t, "stack"), c.CHTImages()), c: c, release: "cht"}
	s.Nodes, s.Components, s.StorageClass = nodes, cht.AllComponents, c.StorageClass(t)
	c.RemoveAfter(t, controllerOf(s.Namespace))
	t.Cleanup(func() {
		if !harness.Kept(t) {
			s.remove(t)
		}
	})
	return s
}

// values of the release; more is laid over them. Without a password among them the chart
// makes one up.
func (s *stack) values(more ...map[string]any) map[string]any {
	own := map[string]any{"couchdb": map[string]any{"nodes": s.Nodes, "storage": map[string]any{"size": s.Size.String(), "className": s.StorageClass}}}
	return s.c.CHTValues(append([]map[string]any{own}, more...)...)
}

// install installs the chart in a folder and waits until CouchDB answers.
func (s *stack) install(ctx context.Context, t *testing.T, folder string, values map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, helmWithin)
	defer cancel()
	if _, err := s.c.Helm(s.Namespace).Install(ctx, s.release, folder, values); err != nil {
		t.Fatal(err)
	}
	s.answers(ctx, t)
}

func (s *stack) upgrade(ctx context.Context, t *testing.T, values map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, helmWithin)
	defer cancel()
	if _, err := s.c.Helm(s.Namespace).Upgrade(ctx, s.release, s.c.ChartFolder("cht"), values); err != nil {
		t.Fatal(err)
	}
	s.answers(ctx, t)
}

// answers waits until CouchDB lets in who has the Secret's password.
func (s *stack) answers(ctx context.Context, t *testing.T) {
	t.Helper()
	secret := s.secret(ctx, t)
	s.User, s.Password = string(secret.Data["COUCHDB_USER"]), string(secret.Data["COUCHDB_PASSWORD"])
	if err := cht.WaitReady(ctx, s.c.Client, s.Options, s.c.Transport()); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) secret(ctx context.Context, t *testing.T) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	if err := s.c.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: cht.CredentialsSecret}, &secret); err != nil {
		t.Fatal(err)
	}
	return &secret
}

// remove takes the backups away while there is a controller, then the release.
func (s *stack) remove(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 3*time.Minute, errors.New("the release did not go in 3m"))
	defer cancel()
	for _, namespace := range []string{s.Namespace, s.alsoServes} {
		if namespace == "" {
			continue
		}
		if err := cleared(ctx, s.c, namespace); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.c.Helm(s.Namespace).Release(ctx, s.release); err != nil {
		return // it has been uninstalled
	}
	if _, err := s.c.Helm(s.Namespace).Uninstall(ctx, s.release); err != nil {
		t.Error(err)
	}
}

// cleared deletes what its controller has to end in a namespace, and waits until it is gone.
func cleared(ctx context.Context, c *harness.Cluster, namespace string) error {
	for _, kind := range []client.Object{&api.BackupSchedule{}, &api.Restore{}, &api.Backup{}} {
		if err := c.Client.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("delete every %T in %s: %w", kind, namespace, err)
		}
	}
	for _, list := range []client.ObjectList{&api.RestoreList{}, &api.BackupList{}} {
		if err := await.List(ctx, c.Client, list, func() (string, error) {
			if n := meta.LenList(list); n > 0 {
				return fmt.Sprintf("the end of %d of %T in %s", n, list, namespace), nil
			}
			return "", nil
		}, client.InNamespace(namespace)); err != nil {
			return err
		}
	}
	return nil
}

// nextMinute is a schedule that is due once, at the next full minute that is not too near
// for an upgrade to bring it, and that minute.
func nextMinute() (string, time.Time) {
	due := time.Now().UTC().Add(25 * time.Second).Truncate(time.Minute).Add(time.Minute)
	return fmt.Sprintf("%d %d * * *", due.Minute(), due.Hour()), due
}

// identities tells what is still the same object: claims with their volumes, and CouchDB's pods.
type identities struct{ claims, pods map[string]string }

func (s *stack) identities(ctx context.Context, t *testing.T) identities {
	t.Helper()
	ids := identities{claims: map[string]string{}, pods: map[string]string{}}
	for _, claim := range claims(ctx, t, s.c, s.Namespace) {
		ids.claims[claim.Name] = string(claim.UID) + " " + claim.Spec.VolumeName
	}
	for _, service := range s.Services() {
		var pods corev1.PodList
		if err := s.c.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{cht.Label: service}); err != nil {
			t.Fatal(err)
		}
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil {
				ids.pods[service] = string(p.UID)
			}
		}
	}
	return ids
}

// podTemplate is how CouchDB's pods are to be.
func (s *stack) podTemplate(ctx context.Context, t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	var d appsv1.Deployment
	if err := s.c.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "cht-" + s.Services()[0]}, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template
}

// ready fails unless every pod of the CHT and of its controller is, by its own probes, and
// none was ever started again.
func (s *stack) ready(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, namespace := range []string{s.Namespace, controllerOf(s.Namespace)} {
		var pods corev1.PodList
		if err := s.c.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		for _, p := range pods.Items {
			for _, container := range p.Status.ContainerStatuses {
				if p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && (!container.Ready || container.RestartCount > 0) {
					t.Errorf("%s of pod %s/%s: ready %v, restarted %d times", container.Name, namespace, p.Name, container.Ready, container.RestartCount)
				}
			}
		}
	}
	for _, name := range append(s.deployments(), "cht-haproxy", "cht-haproxy-healthcheck", "cht-api") {
		var d appsv1.Deployment
		if err := s.c.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &d); err != nil {
			t.Error(err)
		} else if d.Spec.Template.Spec.Containers[0].ReadinessProbe == nil {
			t.Errorf("deployment %s has no readiness probe", name)
		}
	}
}

func (s *stack) deployments() []string {
	names := s.Services()
	for i, name := range names {
		names[i] = "cht-" + name
	}
	return names
}

// gone waits until none of the CHT's pods is left.
func (s *stack) gone(ctx context.Context, t *testing.T) {
	t.Helper()
	var pods corev1.PodList
	if err := await.List(ctx, s.c.Client, &pods, func() (string, error) {
		if len(pods.Items) > 0 {
			return "the end of pod " + pods.Items[0].Name, nil
		}
		return "", nil
	}, client.InNamespace(s.Namespace), client.HasLabels{cht.Label}); err != nil {
		t.Fatal(err)
	}
	var deployments appsv1.DeploymentList
	if err := s.c.Client.List(ctx, &deployments, client.InNamespace(s.Namespace)); err != nil || len(deployments.Items) > 0 {
		t.Errorf("%d deployments are left, %v", len(deployments.Items), err)
	}
	if _, err := s.c.Helm(s.Namespace).Release(ctx, s.release); err == nil {
		t.Error("the release is not gone")
	}
}
