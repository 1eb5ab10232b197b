package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore"
	"github.com/medic/cht-backup/schedule"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/csi"
	"github.com/medic/cht-backup/snapshot/ebs/after"
	"github.com/medic/cht-backup/snapshot/file/repositories"
	"github.com/medic/cht-backup/snapshot/method"
	"github.com/medic/cht-backup/snapshot/metrics"
	"github.com/medic/cht-backup/snapshot/podexec"
	"github.com/medic/cht-backup/snapshot/queue"
	"github.com/medic/cht-backup/snapshot/quiesce"
)

// config are the controller's settings: flags, environment CHT_BACKUP_…, or a
// YAML file, in this order.
type config struct {
	Image             string        `mapstructure:"image"`
	Namespace         string        `mapstructure:"namespace"`
	Name              string        `mapstructure:"name"`
	Namespaces        []string      `mapstructure:"namespaces"`
	RBACScope         string        `mapstructure:"rbac-scope"`
	ParallelBackups   int           `mapstructure:"parallel-backups"`
	ParallelPerDriver []string      `mapstructure:"parallel-backups-per-driver"`
	ParallelRestores  int           `mapstructure:"parallel-restores"`
	ParallelDrills    int           `mapstructure:"parallel-drills"`
	MetricsAddress    string        `mapstructure:"metrics-address"`
	HealthAddress     string        `mapstructure:"health-address"`
	LeaderElection    bool          `mapstructure:"leader-election"`
	LeaseDuration     time.Duration `mapstructure:"lease-duration"`
	RequestsPerSecond float32       `mapstructure:"requests-per-second"`
	IsolationOutside  []string      `mapstructure:"isolation-outside"`
	CheckupName       string        `mapstructure:"checkup-name"`
	catalogConfig     `mapstructure:",squash"`
	fileConfig        `mapstructure:",squash"`
	EBSCopies         int      `mapstructure:"ebs-copies-per-region"`
	ClusterName       string   `mapstructure:"cluster-name"`
	EBSClusterTag     string   `mapstructure:"ebs-cluster-tag"`
	EBSCallsPerSecond []string `mapstructure:"ebs-calls-per-second"`
}

func controllerCommand() *cobra.Command {
	var file string
	command := &cobra.Command{Use: "controller", Short: "Run the controller", Args: cobra.NoArgs}
	flags := command.Flags()
	flags.StringVar(&file, "config", "", "YAML file with these settings")
	flags.String("image", "", "image of the pods the controller starts: its own")
	flags.String("namespace", "", "namespace the controller runs in, which keeps the records")
	flags.String("name", "cht-backup", "name of this controller, which tells it from others in its namespace and in the Leases of those that it serves")
	flags.StringSlice("namespaces", nil, "`NAMESPACE,…` that this controller serves; by default all that no other controller does")
	flags.String("rbac-scope", scopeCluster, "where it has its rights: Cluster, or Namespaced for those in namespaces alone, so that drills and restores of one database are refused")
	flags.Int("parallel-backups", 8, "backups that prepare and cut at once; others wait in the order in which they are due")
	flags.StringSlice("parallel-backups-per-driver", []string{"24"}, "`N or DRIVER=N,…`: backups whose snapshots one CSI driver makes at once, until they are ready")
	flags.Int("parallel-restores", 4, "restores worked on at once")
	flags.Int("parallel-drills", 2, "drills that run at once in the cluster, each with a CouchDB as large as its instance's; 0 for no bound")
	flags.String("metrics-address", ":8080", "address of the metrics endpoint, 0 for none")
	flags.String("health-address", ":8081", "address of the health endpoints, 0 for none")
	flags.Bool("leader-election", true, "let only one of several controllers work")
	flags.Duration("lease-duration", 15*time.Second, "how long a dead leader is waited for")
	flags.Float32("requests-per-second", 50, "bound on requests to the Kubernetes API, for backups and for restores each; bursts of twice as many")
	flags.StringSlice("isolation-outside", nil, "`HOST:PORT,…` that the controller can reach and a clone must not: tried by its isolation probes, beside the source and the Kubernetes API")
	flags.String("checkup-name", checkup.Name, "ConfigMap in the controller's namespace that its check-up of itself is published in")
	catalogFlags(flags)
	fileFlags(flags)
	flags.Int("ebs-copies-per-region", 20, "EBS snapshots that are copied at once to one Region of one account, over all backups; EC2's own limit is 20 at first")
	flags.String("cluster-name", "", "name of this cluster in tags and in the catalog; default: the UID of namespace kube-system")
	flags.String("ebs-cluster-tag", "", "`NAME` in the tags KubernetesCluster and kubernetes.io/cluster/NAME of EBS volumes that a restore makes, where the cloud's own parts look for them")
	flags.StringSlice("ebs-calls-per-second", []string{"4/40"}, "`N/BURST or CALL=N/BURST,…`: calls that change something in EC2, of each kind and in one Region, a second and at once")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		v := settings()
		if err := v.BindPFlags(flags); err != nil {
			return err
		}
		if file != "" {
			v.SetConfigFile(file)
			if err := v.ReadInConfig(); err != nil {
				return fmt.Errorf("read settings: %w", err)
			}
		}
		var c config
		if err := v.Unmarshal(&c); err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		if c.Image == "" || c.Namespace == "" {
			return fmt.Errorf("image and namespace must be set (CHT_BACKUP_IMAGE, CHT_BACKUP_NAMESPACE): freezers run that image, records are kept in that namespace")
		}
		if err := c.checkScope(); err != nil {
			return err
		}
		if err := checkOutside(c.IsolationOutside); err != nil {
			return err
		}
		if _, err := c.parallel(); err != nil {
			return err
		}
		if err := c.checkCatalog(); err != nil {
			return err
		}
		if err := c.checkFile(); err != nil {
			return err
		}
		if c.EBSCopies < 1 {
			return fmt.Errorf("ebs-copies-per-region is %d; with less than 1 no copy would ever be made", c.EBSCopies)
		}
		if _, err := c.ebsRates(); err != nil {
			return err
		}
		if err := c.checkClusterName(); err != nil {
			return err
		}
		ctrl.SetLogger(zap.New())
		return runController(cmd, c)
	}
	return command
}

func settings() *viper.Viper {
	v := viper.New()
	v.SetEnvPrefix("CHT_BACKUP")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	return v
}

// parallel are the bounds of the line.
func (c config) parallel() (queue.Limits, error) {
	l := queue.Limits{Cluster: c.ParallelBackups, Driver: 24, Drivers: map[string]int{}}
	if l.Cluster < 1 {
		return l, fmt.Errorf("parallel-backups is %d; with less than 1 no backup would ever run", l.Cluster)
	}
	for _, setting := range c.ParallelPerDriver {
		driver, number, named := strings.Cut(setting, "=")
		if !named {
			driver, number = "", setting
		}
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n < 1 || named && driver == "" {
			return l, fmt.Errorf("parallel-backups-per-driver: %q is neither N nor DRIVER=N with N of 1 or more", setting)
		}
		if named {
			l.Drivers[strings.TrimSpace(driver)] = n
		} else {
			l.Driver = n
		}
	}
	return l, nil
}

// checkOutside refuses what could not be probed: a report has little room.
func checkOutside(addresses []string) error {
	const most, longest = 8, 100
	if len(addresses) > most {
		return fmt.Errorf("isolation-outside names %d addresses; %d are enough", len(addresses), most)
	}
	for _, a := range addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" || len(a) > longest {
			return fmt.Errorf("isolation-outside: %q is not HOST:PORT of at most %d characters", a, longest)
		}
	}
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func runController(cmd *cobra.Command, c config) error {
	if err := stayBelow(); err != nil {
		return err
	}
	kube, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// One limiter: without it every kind of object would have one of its own. The
	// leader's lease has its own, or a busy hour would cost the leadership.
	lease := rest.CopyConfig(kube)
	kube = limited(kube, c.RequestsPerSecond)
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	renew, retry := c.LeaseDuration*2/3, c.LeaseDuration/5
	discovery, err := rest.HTTPClientFor(kube)
	if err != nil {
		return err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(kube, discovery)
	if err != nil {
		return err
	}
	snapshots, err := snapshot.HasSnapshots(mapper)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(kube, ctrl.Options{
		Scheme: scheme, Cache: c.cached(snapshots),
		Metrics: server.Options{BindAddress: c.MetricsAddress}, HealthProbeBindAddress: c.HealthAddress,
		LeaderElection: c.LeaderElection, LeaderElectionID: c.Name, LeaderElectionNamespace: c.Namespace, LeaderElectionConfig: lease,
		LeaseDuration: &c.LeaseDuration, RenewDeadline: &renew, RetryPeriod: &retry, LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	if err := setUp(mgr, kube, lease, c); err != nil {
		return err
	}
	for _, add := range []func(string, healthz.Checker) error{mgr.AddHealthzCheck, mgr.AddReadyzCheck} {
		if err := add("ping", healthz.Ping); err != nil {
			return err
		}
	}
	return mgr.Start(cmd.Context())
}

// limited gives a copy of kube with a limiter for all its requests together, so many a
// second and twice as many at once.
func limited(kube *rest.Config, perSecond float32) *rest.Config {
	kube = rest.CopyConfig(kube)
	kube.QPS, kube.Burst = perSecond, int(2*perSecond)
	kube.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(kube.QPS, kube.Burst)
	return kube
}

func setUp(mgr ctrl.Manager, kube, lease *rest.Config, c config) error {
	direct, err := c.client(kube, mgr.GetScheme())
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return err
	}
	namespaces, err := c.setUpServed(mgr, lease)
	if err != nil {
		return err
	}
	if err := mgr.Add(metrics.Sweeper{Reader: direct, Serves: namespaces.Expected}); err != nil {
		return err
	}
	records := catalog.Store{Client: direct, Namespace: c.Namespace}
	recorder := mgr.GetEventRecorder("cht-backup")
	transport := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: 2 * time.Minute}
	// What is asked while writes are held never stands behind what is not.
	unlimited := rest.CopyConfig(kube)
	unlimited.QPS, unlimited.RateLimiter = -1, nil
	held, err := c.client(unlimited, mgr.GetScheme())
	if err != nil {
		return err
	}
	parallel, err := c.parallel()
	if err != nil {
		return err
	}
	cloud, aws, err := c.ebsSnapshotter(direct)
	if err != nil {
		return err
	}
	backups := &snapshot.Reconciler{
		Client: direct, Exec: quiesce.Execer{Config: kube, Client: clientset}, Run: podexec.Runner{Config: kube, Client: clientset}.Run, Snapshotter: method.Snapshotter{CSI: csi.Snapshotter{Client: direct, Held: held}, EBS: cloud},
		Records: records, Events: recorder, Transport: transport, Image: c.Image, Now: now, Parallel: parallel, Served: namespaces,
		After: &after.Worker{EC2: after.On(aws, c.ebsAccount).For, Kube: direct, Now: now, Copies: c.EBSCopies},
	}
	place, err := c.setUpCatalog(mgr, direct, backups)
	if err != nil {
		return err
	}
	var files *repositories.Store
	if place != nil {
		if files, err = c.setUpFiles(mgr, kube, direct, place, backups); err != nil {
			return err
		}
	}
	metrics.BuiltAs(version)
	metrics.ReadFrom(mgr.GetCache(), namespaces.Concerns, backups.Wants())
	metrics.CopiesDue(schedule.CopyDue)
	if err := c.setUpCheckup(mgr, kube, backups, namespaces); err != nil {
		return err
	}
	if err := backups.Setup(mgr); err != nil {
		return err
	}
	// A restore, for which somebody waits, does not share the night's limit.
	own, err := c.client(limited(kube, c.RequestsPerSecond), mgr.GetScheme())
	if err != nil {
		return err
	}
	records.Client = own
	restores := &restore.Reconciler{Client: own, Records: records, Events: recorder, Transport: transport, Image: c.Image, Outside: c.IsolationOutside, Nameservers: nameservers("/etc/resolv.conf"),
		ParallelDrills: c.ParallelDrills, EC2: ec2Of(aws), ClusterTag: c.EBSClusterTag, Served: namespaces, Narrow: c.narrow(), Now: now}
	if files != nil {
		restores.Repositories, restores.Fillers = readers{files}, restore.PodFillers{Exec: podexec.Runner{Config: kube, Client: clientset}}
	}
	if err := restores.Setup(mgr, c.ParallelRestores); err != nil {
		return err
	}
	schedules := &schedule.Reconciler{Client: direct, Events: recorder, Served: namespaces, Now: now}
	return schedules.Setup(mgr)
}

// nameservers reads whom the controller, and thus any pod, asks for names. Without
// the file, outside of a pod, nobody is known.
func nameservers(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" && net.ParseIP(fields[1]) != nil {
			found = append(found, fields[1])
		}
	}
	return found
}
