package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/medic/cht-backup/integration/testbed/image"
)

// find returns a component by its name or alias.
func (t *Testbed) find(name string) (component, error) {
	s, err := t.load()
	if err != nil {
		return component{}, err
	}
	if !binariesExist(s.Binaries) {
		return component{}, fmt.Errorf("no testbed is up in %s", t.Dir)
	}
	var known []string
	for _, c := range t.components(s.Binaries) {
		if c.name == name || name != "" && c.alias == name {
			return c, nil
		}
		known = append(known, c.name)
	}
	return component{}, fmt.Errorf("no component %q; there are %s", name, strings.Join(known, ", "))
}

// StartComponent starts a component that does not run, and waits until it serves.
func (t *Testbed) StartComponent(ctx context.Context, name string) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c, err := t.find(name)
	if err != nil {
		return err
	}
	return t.startWithFollowers(ctx, c)
}

func (t *Testbed) startWithFollowers(ctx context.Context, c component) error {
	if err := t.start(ctx, c); err != nil {
		return err
	}
	for _, name := range c.followers {
		follower, err := t.find(name)
		if err != nil {
			return err
		}
		if err := t.procs().Stop(name, 2*time.Second); err != nil {
			return err
		}
		if err := t.start(ctx, follower); err != nil {
			return err
		}
	}
	return nil
}

// RestartComponent stops a component, within two seconds, and starts it again. The
// API server would wait for its watchers for longer than any of them cares.
func (t *Testbed) RestartComponent(ctx context.Context, name string) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c, err := t.find(name)
	if err != nil {
		return err
	}
	if err := t.procs().Stop(c.name, 2*time.Second); err != nil {
		return err
	}
	return t.startWithFollowers(ctx, c)
}

// KillComponent sends a component a signal. After one that ends it, it waits for
// the end.
func (t *Testbed) KillComponent(name, signal string) error {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(signal), "SIG"))
	if sig == 0 {
		return fmt.Errorf("no signal %q", signal)
	}
	c, err := t.find(name)
	if err != nil {
		return err
	}
	there, err := t.procs().Signal(c.name, sig)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%s does not run", c.name)
	}
	if (sig == unix.SIGKILL || sig == unix.SIGTERM) && !t.procs().Wait(c.name, time.Minute) {
		return fmt.Errorf("%s still runs a minute after %s", c.name, unix.SignalName(sig))
	}
	return nil
}

// LoadImage imports an image archive and returns the names to use in a pod.
func (t *Testbed) LoadImage(ctx context.Context, file string) ([]string, error) {
	conn, err := dial(t.containerdSocket())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return image.Load(ctx, t.containerdSocket(), cri.NewImageServiceClient(conn), file)
}

// TagImage gives a loaded image another name, as if it had come from there.
func (t *Testbed) TagImage(ctx context.Context, name, fresh string) error {
	conn, err := dial(t.containerdSocket())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return image.Tag(ctx, t.containerdSocket(), cri.NewImageServiceClient(conn), name, fresh)
}

// NodeCommand is the command line that runs argv in the node's network namespace.
func NodeCommand(argv []string) []string { return inNode(argv...) }

// EnforcerCommand is the command line that enforces the cluster's NetworkPolicies
// with the given binary, as long as its standard input stays open.
func (t *Testbed) EnforcerCommand(netpol string) ([]string, error) {
	if err := t.install(map[string]string{"ipset": "ipset"}); err != nil {
		return nil, err
	}
	return inNode(netpol, "-kubeconfig="+t.Kubeconfig(), "-node="+NodeName, "-services="+ServiceCIDR), nil
}

// LogFile is where a component's output goes.
func (t *Testbed) LogFile(name string) (string, error) {
	c, err := t.find(name)
	return t.procs().LogFile(c.name), err
}
