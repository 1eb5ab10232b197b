// Command netpol enforces the cluster's NetworkPolicies on the testbed's node, as
// long as its standard input stays open: the controller of kube-router that k3s
// has in it too, with iptables and ipset. It takes away what it made when it ends.
// It runs in the node's network namespace.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	var kubeconfig, node, services string
	flag.StringVar(&kubeconfig, "kubeconfig", "", "of the cluster")
	flag.StringVar(&node, "node", "", "name of the node it runs on")
	flag.StringVar(&services, "services", "", "CIDR of the Services")
	flag.Parse()
	if err := enforce(kubeconfig, node, services); err != nil {
		fmt.Fprintln(os.Stderr, "netpol:", err)
		os.Exit(1)
	}
}

func enforce(kubeconfig, node, services string) (err error) {
	putBack, err := before()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, putBack()) }()
	if err := filterBridge(); err != nil {
		return err
	}
	kube, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	kube.QPS, kube.Burst = 50, 100
	client, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	// A policy is looked at when it, a pod or a namespace changes; the period is for
	// what an event missed.
	config := &options.KubeRouterConfig{EnableIPv4: true, ClusterIPCIDRs: []string{services}, NodePortRange: "30000-32767",
		HostnameOverride: node, IPTablesSyncPeriod: 10 * time.Second, RunFirewall: true}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods().Informer(), factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(stop)
	if !cache.WaitForCacheSync(stop, pods.HasSynced, namespaces.HasSynced, policies.HasSynced) {
		return errors.New("the cluster's pods and policies could not be listed")
	}
	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	var ipsets sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &ipsets, tables, sets)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	beats := make(chan *healthcheck.ControllerHeartbeat, 10)
	go func() {
		for range beats { // nobody asks
		}
	}()
	var done sync.WaitGroup
	done.Add(1)
	go controller.Run(beats, stop, &done)
	fmt.Println("enforcing")
	untilEnd()
	close(stop)
	done.Wait()
	controller.Cleanup()
	return nil
}

// before notes the filter table and what iptables sees of bridges. putBack restores
// both: the controller's own clean-up leaves each rule of everybody else twice, and
// after a few times every packet is held against thousands.
func before() (putBack func() error, err error) {
	rules, err := exec.Command("iptables-save", "-t", "filter").Output()
	if err != nil {
		return nil, fmt.Errorf("iptables-save: %w", err)
	}
	bridge, err := os.ReadFile(bridgeFile)
	if errors.Is(err, os.ErrNotExist) {
		bridge = []byte("0") // without the module, iptables sees nothing of bridges
	} else if err != nil {
		return nil, err
	}
	return func() error {
		restore := exec.Command("iptables-restore", "-T", "filter")
		restore.Stdin = bytes.NewReader(rules)
		out, err := restore.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("iptables-restore: %w: %s", err, out)
		}
		return errors.Join(err, os.WriteFile(bridgeFile, bridge, 0))
	}, nil
}

const bridgeFile = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// filterBridge lets iptables see what pods of one node send each other: it goes over
// a bridge and would pass it by.
func filterBridge() error {
	if _, err := os.Stat(bridgeFile); errors.Is(err, os.ErrNotExist) {
		if out, err := exec.Command("modprobe", "br_netfilter").CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe br_netfilter: %w: %s", err, out)
		}
	}
	return os.WriteFile(bridgeFile, []byte("1"), 0)
}

// untilEnd returns when nobody holds standard input any more, or on a signal.
func untilEnd() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that matters
		close(closed)
	}()
	select {
	case <-end:
	case <-closed:
	}
}
