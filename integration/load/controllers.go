package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/child"
)

// controller is a process of the product's.
type controller struct {
	*child.Process
	name  string
	log   string
	probe *http.Client
	serve string // its metrics
}

// memory is what a process says of itself once its garbage is gone, in bytes but for
// Objects and Goroutines. Spans are the heap's pages, which are only given back whole;
// Runtime is what Go has to keep all this; Profiler is what the profiler has outside of
// the heap: a few bytes for each place that ever allocated. Kernel is /proc/self/status,
// which says what of its own is resident, and of its program's file.
type memory struct {
	Heap, Spans, Stacks, Runtime, Profiler, Objects, Goroutines uint64
	Kernel                                                      string
	own, program                                                uint64
}

// start starts one more controller.
func (w *world) start() (*controller, error) {
	w.started++
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("controller-%d", w.started)
	socket := filepath.Join(w.dir, name+".sock")
	logs := w.dir
	if w.o.logs != "" {
		logs = w.o.logs
	}
	c := &controller{name: name, log: filepath.Join(logs, name+".log"), serve: "http://" + address + "/metrics", probe: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}, DisableKeepAlives: true}}}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(filepath.Join(w.dir, "cht-backup"), "controller", "--namespace="+home, "--image=hollow/cht-backup", "--metrics-address="+address, "--health-address=0",
		"--requests-per-second=1000", fmt.Sprintf("--parallel-backups=%d", w.o.parallel), "--catalog-url=file://"+w.bucket(), "--cluster-name=load")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "LOAD_CLOCK="+w.clock.file.Name(), "LOAD_PROBE="+socket)
	cmd.Stdout, cmd.Stderr = log, log
	if c.Process, err = child.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// died tells why a controller ended that should not have.
func (c *controller) died() error {
	text, _ := os.ReadFile(c.log)
	return fmt.Errorf("%s ended: %w\n%s", c.name, c.Err, text[max(0, len(text)-2000):])
}

// kill ends it as a lost machine would.
func (c *controller) kill() {
	_ = c.Cmd.Process.Kill() // it may have ended
	<-c.Ended
}

// leads tells whether it is the leader, by its own metrics.
func (c *controller) leads(ctx context.Context) (bool, error) {
	text, err := get(ctx, http.DefaultClient, c.serve)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "leader_election_master_status") && strings.HasSuffix(strings.TrimSpace(line), " 1") {
			return true, nil
		}
	}
	return false, nil
}

// memory collects its garbage and asks for what is left.
func (c *controller) memory(ctx context.Context) (m memory, err error) {
	text, err := get(ctx, c.probe, "http://probe/memory")
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, err
	}
	return m, m.resident()
}

// profile writes what is in its heap to a file.
func (c *controller) profile(ctx context.Context, file string) error {
	text, err := get(ctx, c.probe, "http://probe/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// resident reads own and program out of Kernel (proc(5)). The profiler's, which no
// controller but the test's has, is not in own.
func (m *memory) resident() error {
	for name, to := range map[string]*uint64{"RssAnon": &m.own, "RssFile": &m.program} {
		_, after, _ := strings.Cut(m.Kernel, "\n"+name+":")
		if _, err := fmt.Sscanf(after, "%d kB", to); err != nil {
			return fmt.Errorf("no %s in %q: %w", name, m.Kernel, err)
		}
		*to <<= 10
	}
	m.own -= m.Profiler
	return nil
}

// files are how many it has open.
func (c *controller) files() (uint64, error) {
	open, err := os.ReadDir("/proc/" + strconv.Itoa(c.Cmd.Process.Pid) + "/fd")
	return uint64(len(open)), err
}

// leader waits until one of the controllers leads.
func (w *world) leader(ctx context.Context) (*controller, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("none leads after 2 minutes"))
	defer cancel()
	for {
		for _, c := range w.controllers {
			select {
			case <-c.Ended:
				return nil, c.died()
			default:
			}
			if leads, err := c.leads(ctx); err == nil && leads {
				return c, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a leader: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// replace kills the leader, and starts another controller.
func (w *world) replace(ctx context.Context) error {
	c, err := w.leader(ctx)
	if err != nil {
		return err
	}
	c.kill()
	next, err := w.start()
	if err != nil {
		return err
	}
	for i := range w.controllers {
		if w.controllers[i] == c {
			w.controllers[i] = next
		}
	}
	return nil
}

func get(ctx context.Context, c *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(text), err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
