// Command local-path-provisioner gives claims directories of the node's own disk.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/medic/cht-backup/integration/testbed/localpath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "local-path-provisioner:", err)
		os.Exit(1)
	}
}

func run() error {
	var p localpath.Provisioner
	kubeconfig := flag.String("kubeconfig", "", "of the cluster")
	name := flag.String("name", "rancher.io/local-path", "provisioner of the storage classes to serve")
	flag.StringVar(&p.Dir, "dir", "", "directory of the node's disk for the volumes")
	flag.StringVar(&p.Node, "node", "", "name of the node")
	flag.Parse()
	if p.Dir == "" || p.Node == "" {
		return fmt.Errorf("-dir and -node are needed")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	controller.NewProvisionController(ctx, client, *name, &p, controller.LeaderElection(false), controller.Threadiness(16),
		// A directory that cannot be removed yet is tried again, for as long as it takes.
		controller.FailedDeleteThreshold(0), controller.FailedProvisionThreshold(0),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, time.Second)),
		controller.AddFinalizer(true)).Run(ctx)
	return nil
}
