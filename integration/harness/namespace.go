package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/snapshot/await"
)

// goneWithin bounds the end of a namespace; longer means that something holds a
// finalizer that nobody takes off.
const goneWithin = 3 * time.Minute

// CreateNamespace makes a namespace in which pods may do what freezers must, and
// waits until pods can be made in it.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}}}
	if err := c.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	var accounts corev1.ServiceAccountList
	return await.List(ctx, c.Client, &accounts, func() (string, error) {
		if len(accounts.Items) == 0 {
			return "the default ServiceAccount of " + name, nil
		}
		return "", nil
	}, client.InNamespace(name))
}

// DeleteNamespace deletes a namespace and waits until it is gone.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error {
	err := c.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	var list corev1.NamespaceList
	return await.List(ctx, c.Client, &list, func() (string, error) {
		if len(list.Items) == 0 {
			return "", nil
		}
		said := ""
		for _, condition := range list.Items[0].Status.Conditions {
			if condition.Status == corev1.ConditionTrue {
				said += "; " + condition.Message
			}
		}
		return "the end of namespace " + name + said, nil
	}, client.MatchingFields{"metadata.name": name})
}

// TempNamespace makes a namespace for one test. It goes with the test, unless that
// failed and E2E_KEEP is set.
func (c *Cluster) TempNamespace(t testing.TB, prefix string) string {
	t.Helper()
	return c.TempNamespaceNamed(t, prefix+"-"+rand.String(5))
}

// TempNamespaceNamed is TempNamespace with a name that something else decided.
func (c *Cluster) TempNamespaceNamed(t testing.TB, name string) string {
	t.Helper()
	if err := c.CreateNamespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	c.RemoveAfter(t, name)
	return name
}

// RemoveAfter lets a namespace go with the test, whoever makes it.
func (c *Cluster) RemoveAfter(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		if Kept(t) {
			t.Logf("kept namespace %s", name)
			return
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), goneWithin, errors.New("it did not go in "+goneWithin.String()))
		defer cancel()
		if err := c.DeleteNamespace(ctx, name); err != nil {
			t.Error(err)
			c.tellOf(t, name)
		}
	})
}

// tellOf prints what the controller said of a namespace last.
func (c *Cluster) tellOf(t testing.TB, namespace string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := c.ControllerLog(ctx)
	var said []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, namespace) {
			said = append(said, line)
		}
	}
	t.Logf("the controller of %s: %v\n%s", namespace, err, strings.Join(said[max(0, len(said)-20):], ""))
}

// Kept tells that a test has failed and what it made is wanted for a look.
func Kept(t testing.TB) bool { return t.Failed() && os.Getenv("E2E_KEEP") != "" }

// Deploy puts a CHT into its namespace and waits until it works.
func (c *Cluster) Deploy(ctx context.Context, o cht.Options) error {
	objects, err := cht.Objects(o)
	if err != nil {
		return err
	}
	if err := cht.Apply(ctx, c.Client, objects); err != nil {
		return err
	}
	return cht.WaitReady(ctx, c.Client, o, c.Transport())
}

// CHTImages are the images for cht.Options.
func (c *Cluster) CHTImages() cht.Images {
	return cht.Images{CouchDB: c.Images.CouchDB, HAProxy: c.Images.HAProxy, Tools: c.Images.Tools}
}

// Seed fills a new CHT; flags are those of `cht-tools seed`.
func (c *Cluster) Seed(ctx context.Context, namespace string, flags ...string) error {
	out, err := c.ExecTool(ctx, namespace, append([]string{"seed"}, flags...)...)
	if err != nil {
		return fmt.Errorf("seed the CHT in %s: %w", namespace, err)
	}
	c.logf("%s: %s", namespace, tail(out, 200))
	return nil
}

// MessageCount asks the SMSGateway of a namespace how many messages it got.
func (c *Cluster) MessageCount(ctx context.Context, namespace string) (int64, error) {
	out, err := c.ExecTool(ctx, namespace, "get", "--url", cht.GatewayURL(namespace), "/count")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
}
