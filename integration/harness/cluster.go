package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// ErrNoCluster says that no cluster can be had here; tests skip with its text.
var ErrNoCluster = errors.New("no cluster")

// Cluster is a Kubernetes with our images in it.
type Cluster struct {
	Config *rest.Config
	Client client.WithWatch // with our kinds and those of snapshots
	Kube   kubernetes.Interface
	Images Images
	// Kubeconfig is the file that the clients were made from.
	Kubeconfig string
	// Local tells that this is the testbed on this machine: only there can file
	// systems be thawed from outside, packets be seen, components be killed.
	Local bool
	// Log takes what the harness has to say.
	Log io.Writer
	// Controller makes the objects that install the product; ControllerObjects
	// where nil.
	Controller func(c *Cluster) ([]client.Object, error)
	// Home is the namespace of the controller that a test is about; ControllerNamespace
	// where "".
	Home string
	// controllerSum is the hash of the controller's image archive.
	controllerSum string

	testbed string // the testbed's command
	root    string // the module's root
	built   map[string]Archive
}

// Start gives a cluster: that of E2E_KUBECONFIG, whose images are then expected
// under E2E_IMAGE_PREFIX (and COUCHDB_IMAGE), else the testbed, which it brings up
// when it is not, with the images loaded. Controller false leaves the product's own
// image out, for what needs none.
func Start(ctx context.Context, log io.Writer, controller bool) (*Cluster, error) {
	root, err := source()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Log: log, root: root}
	if c.Kubeconfig = os.Getenv("E2E_KUBECONFIG"); c.Kubeconfig != "" {
		c.Images = foreignImages(os.Getenv("E2E_IMAGE_PREFIX"), os.Getenv("COUCHDB_IMAGE"))
		return c, c.connect()
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: the testbed needs root; or set E2E_KUBECONFIG", ErrNoCluster)
	}
	wanted := allImages
	if !controller {
		wanted = []string{imageTools, imageHAProxy, imageCouchDB}
	}
	built, err := buildImages(ctx, wanted)
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	c.Local, c.testbed, c.built = true, filepath.Join(cache, "testbed"), built
	return c, locked(cache, func() error {
		if err := c.up(ctx); err != nil {
			return err
		}
		if err := c.connect(); err != nil {
			return err
		}
		return c.load(ctx, built)
	})
}

// Connect gives a cluster that there is, and that needs none of our images: what runs in
// it is played.
func Connect(kubeconfig string) (*Cluster, error) {
	root, err := source()
	if err != nil {
		return nil, err
	}
	c := &Cluster{root: root, Kubeconfig: kubeconfig}
	return c, c.connect()
}

func foreignImages(prefix, couchdb string) Images {
	var images Images
	for _, kind := range allImages {
		*images.field(kind) = prefix + kind + ":test"
	}
	if couchdb != "" {
		images.CouchDB = couchdb
	}
	return images
}

// up starts the testbed, or finds it running.
func (c *Cluster) up(ctx context.Context) error {
	var out strings.Builder
	if err := run(ctx, c.root, &out, c.testbed, "up"); err != nil {
		return fmt.Errorf("start the testbed: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	c.Kubeconfig = lines[len(lines)-1]
	return nil
}

// Scheme knows the kinds that the tests handle.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c *Cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig %s: %w", c.Kubeconfig, err)
	}
	config.QPS, config.Burst = 100, 200 // the tests must not be what is slow
	ctrllog.SetLogger(logr.Discard())   // or it complains of having none, once, somewhere
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	c.Config = config
	if c.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if c.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	return nil
}

// Testbed runs the testbed's command, where the cluster is one: kill, restart,
// start COMPONENT, node-exec -- CMD. It returns what the command printed.
func (c *Cluster) Testbed(ctx context.Context, args ...string) (string, error) {
	if !c.Local {
		return "", fmt.Errorf("%w of the testbed: E2E_KUBECONFIG names another", ErrNoCluster)
	}
	var out strings.Builder
	err := run(ctx, c.root, &out, append([]string{c.testbed}, args...)...)
	return strings.TrimSpace(out.String()), err
}

func (c *Cluster) logf(format string, args ...any) {
	if c.Log != nil {
		_, _ = fmt.Fprintf(c.Log, format+"\n", args...) // there is nowhere to say that it failed
	}
}
