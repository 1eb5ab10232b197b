package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// CouchPorts are those on which CouchDB's nodes find each other and are asked:
// Erlang's port mapper, its distribution, and HTTP.
var CouchPorts = []uint16{4369, 9100, 5984}

// Packets counts the TCP packets on CouchPorts between all pods of the testbed.
type Packets struct {
	c      *Cluster
	socket int
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	flows  map[flow]int
	owners map[netip.Addr]map[string]bool // namespaces by address
	err    error
}

type flow struct{ from, to netip.Addr }

// CountPackets counts from now until Close. Packets on their way to a Service are
// seen as such and again, rewritten, as those to its pod; the numbers are not to be
// compared, only zero and more than zero tell.
func (c *Cluster) CountPackets(ctx context.Context) (*Packets, error) {
	var info corev1.ConfigMap
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "testbed-info"}, &info); err != nil || !c.Local {
		return nil, errors.Join(fmt.Errorf("%w whose packets can be seen", ErrNoCluster), err)
	}
	socket, err := listenIn("/run/netns/" + info.Data["netns"])
	if err != nil {
		return nil, fmt.Errorf("listen to the pods' packets: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Packets{c: c, socket: socket, cancel: cancel, flows: map[flow]int{}, owners: map[netip.Addr]map[string]bool{}}
	if err := p.addresses(ctx); err != nil {
		cancel()
		return nil, errors.Join(err, unix.Close(socket))
	}
	p.done.Go(func() { p.read(ctx) })
	return p, nil
}

// listenIn opens a packet socket in a network namespace. The socket stays there;
// the thread is thrown away, since it cannot always be brought back.
func listenIn(netns string) (int, error) {
	type result struct {
		fd  int
		err error
	}
	opened := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := func() (int, error) {
			ns, err := os.Open(netns)
			if err != nil {
				return 0, err
			}
			defer func() { _ = ns.Close() }()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return 0, fmt.Errorf("enter %s: %w", netns, err)
			}
			return packetSocket()
		}()
		opened <- result{fd, err}
	}()
	r := <-opened
	return r.fd, r.err
}

// packetSocket sees every frame of every device, for one protocol would miss what
// the bridge takes away, and lets only our packets pass.
func packetSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := setUp(fd); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func setUp(fd int) error {
	program, err := filter()
	if err != nil {
		return err
	}
	raw := make([]unix.SockFilter, len(program))
	for i, in := range program {
		raw[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
		return fmt.Errorf("set buffer: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(100 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("set timeout: %w", err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all})
}

// filter passes the headers of IPv4 TCP packets of which one port is ours.
func filter() ([]bpf.RawInstruction, error) {
	const headers = 64
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipFalse: uint8(5 + 2*len(CouchPorts))},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipFalse: uint8(3 + 2*len(CouchPorts))},
		bpf.LoadMemShift{Off: 0},
	}
	for i, offset := range []uint32{0, 2} {
		program = append(program, bpf.LoadIndirect{Off: offset, Size: 2})
		for j, port := range CouchPorts {
			left := (1-i)*(1+len(CouchPorts)) + len(CouchPorts) - 1 - j // instructions to the refusal
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: uint8(left + 1)})
		}
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: headers}))
}

func (p *Packets) read(ctx context.Context) {
	packet := make([]byte, 128)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(p.socket, packet, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			p.fail(fmt.Errorf("read packets: %w", err))
			return
		case n < 20:
			continue
		}
		from, _ := netip.AddrFromSlice(packet[12:16])
		to, _ := netip.AddrFromSlice(packet[16:20])
		p.mu.Lock()
		p.flows[flow{from, to}]++
		p.mu.Unlock()
	}
}

// addresses learns, now and at each change, which namespace an address belongs to.
// None is forgotten: a pod may be gone when its packets are counted.
func (p *Packets) addresses(ctx context.Context) error {
	var services corev1.ServiceList
	var pods corev1.PodList
	if err := errors.Join(p.c.Client.List(ctx, &services), p.c.Client.List(ctx, &pods)); err != nil {
		return fmt.Errorf("list pods and services: %w", err)
	}
	for i := range pods.Items {
		p.learn(&pods.Items[i])
	}
	for i := range services.Items {
		p.learn(&services.Items[i])
	}
	for _, list := range []client.ObjectList{&pods, &services} {
		p.done.Go(func() { p.follow(ctx, list) })
	}
	return nil
}

func (p *Packets) follow(ctx context.Context, list client.ObjectList) {
	for ctx.Err() == nil {
		events, err := p.c.Client.Watch(ctx, list)
		if err != nil {
			p.fail(fmt.Errorf("watch addresses: %w", err))
			return
		}
		for open := true; open; {
			select {
			case <-ctx.Done():
				open = false
			case e, ok := <-events.ResultChan():
				if open = ok; ok {
					if o, is := e.Object.(client.Object); is {
						p.learn(o)
					}
				}
			}
		}
		events.Stop()
	}
}

func (p *Packets) learn(o client.Object) {
	var addresses []string
	owner := o.GetNamespace()
	switch o := o.(type) {
	case *corev1.Pod:
		if !o.Spec.HostNetwork {
			addresses = []string{o.Status.PodIP}
		}
		if o.Labels[api.RoleLabel] == "probe-isolation" {
			owner += " (isolation probe)" // it is there to knock at other namespaces' doors
		}
	case *corev1.Service:
		addresses = o.Spec.ClusterIPs
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range addresses {
		if address, err := netip.ParseAddr(text); err == nil {
			if p.owners[address] == nil {
				p.owners[address] = map[string]bool{}
			}
			p.owners[address][owner] = true
		}
	}
}

func (p *Packets) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = errors.Join(p.err, err)
}

// Between is the number of packets seen between two namespaces, either way, without
// those of a clone's isolation probes, which open connections and send nothing. It is
// an error to ask about a namespace of which no packet was seen at all, or when
// packets were missed: such a zero proves nothing.
func (p *Packets) Between(a, b string) (int, error) {
	missed, err := unix.GetsockoptTpacketStats(p.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, fmt.Errorf("count packets: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if missed.Drops > 0 {
		p.err = errors.Join(p.err, fmt.Errorf("%d packets were missed", missed.Drops))
	}
	if p.err != nil {
		return 0, p.err
	}
	seen, between := map[string]int{}, 0
	for f, n := range p.flows {
		from, to := p.owners[f.from], p.owners[f.to]
		for namespace := range from {
			seen[namespace] += n
		}
		for namespace := range to {
			seen[namespace] += n
		}
		if from[a] && to[b] || from[b] && to[a] {
			between += n
		}
	}
	for _, namespace := range []string{a, b} {
		if seen[namespace] == 0 {
			return 0, fmt.Errorf("no packet of namespace %s was seen at all: the count proves nothing", namespace)
		}
	}
	return between, nil
}

// Flows lists who spoke to whom between two namespaces, for a message.
func (p *Packets) Flows(a, b string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for f, n := range p.flows {
		from, to := p.owners[f.from], p.owners[f.to]
		if from[a] && to[b] || from[b] && to[a] {
			all = append(all, fmt.Sprintf("%s %v -> %s %v: %d packets", f.from, sorted(from), f.to, sorted(to), n))
		}
	}
	slices.Sort(all)
	return all
}

// Close ends the counting.
func (p *Packets) Close() error {
	p.cancel()
	p.done.Wait()
	return unix.Close(p.socket)
}
