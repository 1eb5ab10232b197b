package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/account"
	"github.com/medic/cht-backup/integration/bench/worker"
	"github.com/medic/cht-backup/integration/child"
)

// binary is the product's, and what goes with it.
type binary struct {
	file string
	dir  string
	// root of the source.
	root string
}

func build(ctx context.Context, dir string) (binary, error) {
	b := binary{file: filepath.Join(dir, "cht-backup"), dir: dir}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return b, fmt.Errorf("find the source: %w", err)
	}
	b.root = filepath.Dir(strings.TrimSpace(string(mod)))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.file, "./cmd/cht-backup")
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return b, fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	return b, nil
}

// makeHome makes the controller's namespace, and a kubeconfig with the rights that the
// chart gives it.
func (f *fleet) makeHome(ctx context.Context, dir string) error {
	create := func(ctx context.Context, o client.Object) error {
		if err := f.client.Create(ctx, o); !alreadyThere(err) {
			return err
		}
		return nil
	}
	if err := create(ctx, &corev1.Namespace{ObjectMeta: marked(home)}); err != nil {
		return err
	}
	a := account.Account{Chart: filepath.Join(f.binary.root, "charts/cht-backup"), Name: "fleet-controller", Namespace: home, Labels: marked("").Labels}
	token, err := a.Make(ctx, f.client, create)
	if err != nil {
		return err
	}
	cluster := clientcmdapi.Cluster{Server: f.c.Config.Host, CertificateAuthorityData: f.c.Config.CAData}
	if f.calls != nil {
		cluster = clientcmdapi.Cluster{Server: f.calls.url}
		f.calls.token = token
	}
	file := filepath.Join(dir, "kubeconfig")
	if err := account.Kubeconfig(file, cluster, token); err != nil {
		return err
	}
	f.kubeconfig = file
	return nil
}

// process is a running controller.
type process struct {
	*child.Process
	metrics string // URL
	log     string
}

// startController starts one and returns when it has nothing more to do.
func (f *fleet) startController(ctx context.Context, parallel, perDriver int, requests float64) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &process{metrics: "http://" + port + "/metrics", log: filepath.Join(f.binary.dir, "controller.log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(f.binary.file, "controller", "--namespace="+home, "--image=fleet/cht-backup", "--metrics-address="+port, "--health-address=0",
		"--leader-election=false", fmt.Sprintf("--parallel-backups=%d", parallel), fmt.Sprintf("--parallel-backups-per-driver=%d", perDriver),
		fmt.Sprintf("--requests-per-second=%g", requests))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+f.kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if p.Process, err = child.Start(cmd); err != nil {
		return nil, fmt.Errorf("start the controller: %w", err)
	}
	if err := p.settle(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// settle waits until the controller makes no more calls.
func (p *process) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not come to rest"))
	defer cancel()
	last := reading{}
	for {
		now, err := p.read(ctx)
		if err == nil && now.calls["GET"] > 0 && now.total() == last.total() {
			return nil
		}
		last = now
		select {
		case <-p.Ended:
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("start the controller: %w (%w)", context.Cause(ctx), err)
		case <-time.After(time.Second):
		}
	}
}

// died tells why a controller ended that should not have.
func (p *process) died() error {
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("the controller ended: %w\n%s", p.Err, text[max(0, len(text)-2000):])
}

func (p *process) stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.Ended:
	case <-time.After(20 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.Ended
	}
}

// peak is the most memory that was ever resident, in bytes.
func (p *process) peak() (float64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	kib, err := worker.Peak(string(status))
	return float64(kib << 10), err
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
