package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/testbed/build"
	"github.com/medic/cht-backup/integration/testbed/kube"
	"github.com/medic/cht-backup/integration/testbed/pki"
)

// Plane is a Kubernetes without a node: etcd, the API server, the controllers, the
// scheduler and the snapshot controller, on loopback and on free ports. It needs no
// root, any number of them may run beside each other and beside a Testbed, and they are
// children of their program, which they do not outlive.
type Plane struct {
	Dir    string // for all it keeps; must be its own
	Source string // folder of this module, to build from
	Cache  string // binaries, by content
	Log    io.Writer

	all   []*exec.Cmd
	ended chan string // how one ended
}

// planeReady bounds the wait for a component.
const planeReady = 90 * time.Second

// Kubeconfig is the path of the administrator's kubeconfig.
func (p *Plane) Kubeconfig() string { return p.path("kubeconfig") }

func (p *Plane) path(parts ...string) string {
	return filepath.Join(append([]string{p.Dir}, parts...)...)
}

// Run has it run until the context ends, and calls ready once it serves. It fails when
// a component ends before.
func (p *Plane) Run(ctx context.Context, ready func()) error {
	bin, err := build.Plane(ctx, p.Source, p.Cache, p.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.ended = make(chan string, 8)
	started := make(chan error, 1)
	go func() { started <- p.start(ctx, bin) }()
	defer func() {
		cancel()
		if started != nil {
			if err := <-started; err != nil { // or something would be started after the stop
				_, _ = fmt.Fprintln(p.Log, err)
			}
		}
		p.stop()
	}()
	for {
		select {
		case err := <-started:
			started = nil
			if err != nil {
				return err
			}
			ready()
		case how := <-p.ended:
			return errors.New(how)
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Plane) start(ctx context.Context, bin map[string]string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	server := fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	if err := p.prepare(bin, server); err != nil {
		return err
	}
	k8s := func(name string) string { return p.path("bin", name) }
	file := func(name string) string { return p.path("pki", name) }
	clients, peers := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	if err := p.spawn(k8s(etcd), "--data-dir="+p.path("etcd"), "--unsafe-no-fsync", "--listen-client-urls="+clients, "--advertise-client-urls="+clients,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers, "--log-level=warn"); err != nil {
		return err
	}
	// The endpoint of service kubernetes cannot be on loopback: nobody asks for it.
	if err := p.spawn(k8s(apiserver), "--etcd-servers="+clients, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]), "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range="+ServiceCIDR, "--allow-privileged=true", "--authorization-mode=Node,RBAC", "--kubelet-preferred-address-types=InternalIP",
		"--cert-dir="+p.path("pki"), "--client-ca-file="+file("ca.crt"), "--tls-cert-file="+file("apiserver.crt"), "--tls-private-key-file="+file("apiserver.key"),
		"--kubelet-client-certificate="+file("apiserver-kubelet.crt"), "--kubelet-client-key="+file("apiserver-kubelet.key"),
		"--service-account-key-file="+file("sa.key"), "--service-account-signing-key-file="+file("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--profiling=false"); err != nil {
		return err
	}
	client, err := kube.New(p.Kubeconfig())
	if err != nil {
		return err
	}
	serving, cancel := context.WithTimeout(ctx, planeReady)
	defer cancel()
	if err := client.Ready(serving); err != nil {
		return fmt.Errorf("the API server does not get ready, see %s: %w", p.logFile(apiserver), err)
	}
	if err := applyCRDs(serving, client, bin[build.CRDs]); err != nil {
		return err
	}
	rates := []string{"--kube-api-qps=1000", "--kube-api-burst=2000"}
	for _, argv := range [][]string{
		append([]string{k8s("kube-controller-manager"), "--kubeconfig=" + p.Kubeconfig(), "--leader-elect=false", "--secure-port=0", "--root-ca-file=" + file("ca.crt"),
			"--service-account-private-key-file=" + file("sa.key"), "--allocate-node-cidrs=false"}, rates...),
		append([]string{k8s("kube-scheduler"), "--kubeconfig=" + p.Kubeconfig(), "--leader-elect=false", "--secure-port=0"}, rates...),
		append([]string{bin["snapshot-controller"], "--kubeconfig=" + p.Kubeconfig(), "--retry-interval-start=100ms", "--retry-interval-max=1s", "--worker-threads=16"}, rates...),
	} {
		if err := p.spawn(argv...); err != nil {
			return err
		}
	}
	_, err = client.Wait(serving, "/api/v1/namespaces/default/serviceaccounts", "default", func(kube.Object) bool { return true })
	return err
}

// prepare writes what the components read.
func (p *Plane) prepare(bin map[string]string, server string) error {
	if err := os.MkdirAll(p.path("bin"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{etcd, apiserver, "kube-controller-manager", "kube-scheduler"} {
		if err := os.Symlink(bin["node"], p.path("bin", name)); err != nil {
			return err
		}
	}
	authority, err := pki.New(p.path("pki"))
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error {
			return authority.Server("apiserver", []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"})
		},
		func() error { return authority.SigningKey("sa") },
		func() error { return authority.Client("admin", "testbed-admin", "system:masters") },
		func() error { return authority.Client("apiserver-kubelet", "testbed-apiserver", "system:masters") },
		func() error { return authority.Kubeconfig(p.Kubeconfig(), server, "admin") },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("make certificates: %w", err)
		}
	}
	return nil
}

func (p *Plane) logFile(name string) string { return p.path(name + ".log") }

// spawn starts a component that dies with this program.
func (p *Plane) spawn(argv ...string) error {
	name := filepath.Base(argv[0])
	log, err := os.Create(p.logFile(name))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // ^C is for the program
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // a death signal is tied to the thread that started the process
		err := cmd.Start()
		started <- err
		if err == nil {
			p.ended <- fmt.Sprintf("%s ended: %v; see %s", name, cmd.Wait(), p.logFile(name))
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p.all = append(p.all, cmd)
	return nil
}

// stop ends all, the last first, and waits for each.
func (p *Plane) stop() {
	for i := len(p.all) - 1; i >= 0; i-- {
		_ = p.all[i].Process.Kill() // it may have ended; what it keeps goes, too
	}
	for range p.all {
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			return
		}
	}
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at once, or one would be given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
