package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/medic/cht-backup/integration/testbed/kube"
	"github.com/medic/cht-backup/integration/testbed/proc"
)

// What a cluster is called and where it is. One machine has one testbed.
const (
	NodeName     = "testbed"
	Netns        = "cht-testbed"
	PodCIDR      = "10.244.0.0/16"
	ServiceCIDR  = "10.96.0.0/16"
	Driver       = "loop.csi.cht-backup.test"
	NoSnapDriver = "nosnap.csi.cht-backup.test"
	EBSDriver    = "ebs.csi.aws.com"
	// LocalPath is the provisioner of k3s' class local-path, by its own name: it shows
	// in claims and volumes, and there is nothing else to know such a volume by.
	LocalPath = "rancher.io/local-path"

	nodeIP     = "10.97.255.2"
	hostIP     = "10.97.255.1"
	serviceIP  = "10.96.0.1"
	dnsIP      = "10.96.0.10"
	dnsPort    = "1053"
	hostLink   = "chttb-host"
	cgroup     = "cht-testbed"
	pauseImage = "docker.io/library/testbed-probe:1"

	poolBytes   = 48 << 30
	sharedBytes = 2 << 30
)

// Testbed is the one below Dir. Everything that runs keeps its files there.
type Testbed struct {
	Dir    string    // state; /var/lib/cht-testbed
	Source string    // folder of this module, to build from
	Cache  string    // binaries, by content
	Log    io.Writer // progress
}

// state is what teardown cannot find out by looking.
type state struct {
	Binaries map[string]string `json:"binaries"`
	Sysctls  map[string]string `json:"sysctls"` // as they were before
	Made     []string          `json:"made"`    // directories outside Dir that were not there before
}

func (t *Testbed) path(parts ...string) string {
	return filepath.Join(append([]string{t.Dir}, parts...)...)
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (t *Testbed) Kubeconfig() string { return t.path("kubeconfig") }

func (t *Testbed) procs() *proc.Table {
	return &proc.Table{Dir: t.path("proc"), Logs: t.path("logs")}
}

func (t *Testbed) containerdSocket() string { return t.path("containerd.sock") }

func (t *Testbed) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(t.Log, format+"\n", args...)
}

func (t *Testbed) client() (*kube.Client, error) { return kube.New(t.Kubeconfig()) }

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (t *Testbed) load() (state, error) {
	var s state
	data, err := os.ReadFile(t.path("state.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return s, err
}

func (t *Testbed) save(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	part := t.path("state.json.part")
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, t.path("state.json"))
}

const (
	lockFile  = "/run/lock/cht-testbed.lock"
	ownerFile = "/run/cht-testbed.dir" // the directory of the machine's testbed
)

// lock makes up, down and restarts wait for each other.
func (t *Testbed) lock() (unlock func(), err error) {
	if !filepath.IsAbs(t.Dir) || strings.Count(filepath.Clean(t.Dir), "/") < 2 {
		return nil, fmt.Errorf("TESTBED_DIR %q: give an absolute directory of its own", t.Dir)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("the testbed needs root: it makes namespaces, mounts and cgroups")
	}
	if err := os.MkdirAll(filepath.Dir(lockFile), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lockFile, err), f.Close())
	}
	owner, err := os.ReadFile(ownerFile)
	if err == nil && strings.TrimSpace(string(owner)) != t.Dir {
		return nil, errors.Join(fmt.Errorf("this machine's testbed is in %s: use TESTBED_DIR=%[1]s, or take that one down first",
			strings.TrimSpace(string(owner))), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
