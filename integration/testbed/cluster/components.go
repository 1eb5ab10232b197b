package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/medic/cht-backup/integration/testbed/proc"
)

// component is one process of the cluster.
type component struct {
	name  string
	alias string // as people call it
	argv  []string
	// These exit when they lose it, and in a real cluster the kubelet would start
	// them again.
	followers []string
	ready     func(context.Context) error // nil: runs is ready enough
}

const (
	etcd       = "etcd"
	apiserver  = "kube-apiserver"
	containerd = "containerd"
	kubelet    = "kubelet"
)

// components returns all of them in the order of their start. Stopping goes the
// other way round.
func (t *Testbed) components(bin map[string]string) []component {
	kubeconfig := t.Kubeconfig()
	pki := func(file string) string { return t.path("pki", file) }
	k8s := func(name string) string { return t.path("bin", name) }
	etcdURL := "http://" + nodeIP + ":2379"
	all := []component{
		{name: etcd, ready: t.httpOK(etcdURL + "/health"), argv: []string{k8s("etcd"),
			"--data-dir=" + t.path("etcd"), "--unsafe-no-fsync", "--listen-client-urls=" + etcdURL,
			"--advertise-client-urls=" + etcdURL, "--listen-peer-urls=http://127.0.0.1:2380",
			"--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380",
			"--quota-backend-bytes=4294967296", "--log-level=warn"}},
		{name: containerd, ready: t.containerdReady, argv: []string{"containerd", "--config", t.path("containerd.toml")}},
		{name: apiserver, alias: "apiserver", ready: t.apiReady, argv: []string{k8s(apiserver),
			"--etcd-servers=" + etcdURL, "--bind-address=" + nodeIP, "--advertise-address=" + nodeIP, "--secure-port=6443",
			"--service-cluster-ip-range=" + ServiceCIDR, "--allow-privileged=true", "--authorization-mode=Node,RBAC",
			"--kubelet-preferred-address-types=InternalIP", "--cert-dir=" + t.path("pki"),
			"--client-ca-file=" + pki("ca.crt"), "--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
			"--service-account-key-file=" + pki("sa.key"), "--service-account-signing-key-file=" + pki("sa.key"),
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--profiling=false"}},
		{name: "kube-controller-manager", alias: "controller-manager", argv: []string{k8s("kube-controller-manager"),
			"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--cert-dir=" + t.path("pki", "cm"),
			"--authentication-skip-lookup", "--root-ca-file=" + pki("ca.crt"), "--service-account-private-key-file=" + pki("sa.key"),
			"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
			"--kube-api-qps=200", "--kube-api-burst=400", "--allocate-node-cidrs=false"}},
		{name: "kube-scheduler", alias: "scheduler", argv: []string{k8s("kube-scheduler"), "--config=" + t.path("scheduler.yaml"),
			"--bind-address=127.0.0.1", "--cert-dir=" + t.path("pki", "scheduler"), "--authentication-skip-lookup"}},
	}
	all = append(all, t.csi(bin, csiNames{"loopcsi", "csi-driver", "csi-provisioner", "csi-snapshotter"}, Driver)...)
	all = append(all, t.csi(bin, csiNames{"nosnap-driver", "", "nosnap-provisioner", ""}, NoSnapDriver)...)
	all = append(all, t.csi(bin, csiNames{"ebs-driver", "", "ebs-provisioner", "ebs-snapshotter"}, EBSDriver, "-cloud-ids")...)
	return append(all,
		component{name: "snapshot-controller", argv: []string{bin["snapshot-controller"], "--kubeconfig=" + kubeconfig,
			"--retry-interval-start=100ms", "--retry-interval-max=1s", "--worker-threads=64", "--kube-api-qps=200", "--kube-api-burst=400"}},
		component{name: "local-path-provisioner", alias: "local-path", argv: []string{bin["local-path-provisioner"], "--kubeconfig=" + kubeconfig,
			"--name=" + LocalPath, "--dir=" + t.localPathDir(), "--node=" + NodeName}},
		component{name: kubelet, ready: t.httpOK("http://" + nodeIP + ":10248/healthz"), argv: []string{k8s(kubelet),
			"--config=" + t.path("kubelet.yaml"), "--kubeconfig=" + t.path("kubelet.kubeconfig"), "--root-dir=" + t.path("kubelet"),
			"--cert-dir=" + t.path("pki", "kubelet"), "--hostname-override=" + NodeName, "--node-ip=" + nodeIP}},
		component{name: "kube-proxy", alias: "proxy", argv: []string{k8s("kube-proxy"), "--config=" + t.path("proxy.yaml")}},
		component{name: "coredns", ready: resolves, argv: []string{bin["coredns"], "-conf", t.path("Corefile")}},
	)
}

// csiNames are those of a driver's processes. One without a snapshotter has no
// snapshots.
type csiNames struct{ driver, alias, provisioner, snapshotter string }

// csi is a driver under one name, with its sidecars.
func (t *Testbed) csi(bin map[string]string, names csiNames, driver string, flags ...string) []component {
	followers, snapshots := []string{names.provisioner}, names.snapshotter != ""
	if snapshots {
		followers = append(followers, names.snapshotter)
	}
	all := []component{
		{name: names.driver, alias: names.alias, followers: followers, ready: t.driverReady(driver), argv: append([]string{bin["loopcsi"], "-driver=" + driver, "-node=" + NodeName,
			"-pool=" + t.path("pool"), "-socket=" + t.socket(driver), fmt.Sprintf("-snapshots=%t", snapshots),
			"-registration=" + t.path("kubelet", "plugins_registry", driver+"-reg.sock")}, flags...)},
		{name: names.provisioner, argv: []string{bin["csi-provisioner"], "--csi-address=" + t.socket(driver), "--kubeconfig=" + t.Kubeconfig(),
			"--timeout=60s", "--retry-interval-start=100ms", "--retry-interval-max=1s", "--worker-threads=32", "--extra-create-metadata",
			"--default-fstype=ext4", "--kube-api-qps=200", "--kube-api-burst=400"}},
	}
	if snapshots {
		all = append(all, component{name: names.snapshotter, argv: []string{bin["csi-snapshotter"], "--csi-address=" + t.socket(driver),
			"--kubeconfig=" + t.Kubeconfig(), "--timeout=10s", "--retry-interval-start=100ms", "--retry-interval-max=1s",
			"--worker-threads=64", "--extra-create-metadata", "--kube-api-qps=200", "--kube-api-burst=400"}})
	}
	return all
}

// localPathDir holds the volumes of class local-path, on the machine's own disk.
func (t *Testbed) localPathDir() string { return t.path("local-path") }

func (t *Testbed) socket(driver string) string {
	return t.path("kubelet", "plugins", driver, "csi.sock")
}

// linkBinaries gives the one binary of the Kubernetes components its names.
func (t *Testbed) linkBinaries(bin map[string]string) error {
	if err := os.MkdirAll(t.path("bin"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{etcd, apiserver, "kube-controller-manager", "kube-scheduler", kubelet, "kube-proxy"} {
		if err := os.Symlink(bin["node"], t.path("bin", name)); err != nil {
			return err
		}
	}
	return nil
}

// start starts a component and waits until it serves.
func (t *Testbed) start(ctx context.Context, c component) error {
	if err := t.procs().Start(proc.Spec{Name: c.name, Argv: inNode(c.argv...)}); err != nil {
		return err
	}
	return t.await(ctx, c)
}

// await waits until a component serves, and gives up at once when its process ends.
func (t *Testbed) await(ctx context.Context, c component) error {
	if c.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	go func() {
		for !t.procs().Wait(c.name, time.Second) && ctx.Err() == nil {
			continue
		}
		cancel()
	}()
	if err := c.ready(ctx); err != nil {
		return fmt.Errorf("%s does not get ready, see %s: %w", c.name, t.procs().LogFile(c.name), err)
	}
	return nil
}

// until repeats a question to a server that does not listen yet.
func until(ctx context.Context, ask func(context.Context) error) error {
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (t *Testbed) httpOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", url, resp.Status)
			}
			return nil
		})
	}
}

func (t *Testbed) apiReady(ctx context.Context) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	return client.Ready(ctx)
}

func (t *Testbed) containerdReady(ctx context.Context) error {
	conn, err := dial(t.containerdSocket())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// The first connection to a socket that is not there backs off for a second.
	return until(ctx, func(ctx context.Context) error {
		if _, err := os.Stat(t.containerdSocket()); err != nil {
			return err
		}
		_, err := cri.NewRuntimeServiceClient(conn).Version(ctx, &cri.VersionRequest{}, grpc.WaitForReady(true))
		return err
	})
}

func (t *Testbed) driverReady(driver string) func(context.Context) error {
	return func(ctx context.Context) error {
		return until(ctx, func(ctx context.Context) error {
			if _, err := os.Stat(t.socket(driver)); err != nil {
				return err
			}
			conn, err := dial(t.socket(driver))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			_, err = csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
			return err
		})
	}
}

// resolves asks the cluster's DNS through its service address, which needs
// kube-proxy too.
func resolves(ctx context.Context) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, net.JoinHostPort(dnsIP, "53"))
	}}
	return until(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
		return err
	})
}

// binaryExists tells whether the recorded binaries are still in the cache.
func binariesExist(bin map[string]string) bool {
	for _, path := range bin {
		if _, err := os.Stat(filepath.Clean(path)); err != nil {
			return false
		}
	}
	return len(bin) > 0
}
