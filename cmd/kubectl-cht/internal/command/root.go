package command

import (
	"context"
	"os"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/ec2tags"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/extract"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/follow"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// Env is what the commands need of the world.
type Env struct {
	genericiooptions.IOStreams
	// Connect gives a client with the user's rights.
	Connect func() (client.WithWatch, error)
	// Namespace gives the one of -n or of the kubeconfig's context.
	Namespace func() (string, error)
	Now       func() time.Time
	// Terminal tells whether a stream is a terminal, and gives its width then.
	Terminal func(stream any) (width func() int, ok bool)
	Follow   follow.Options
	// Snapshots reads the EBS snapshots of a Region that bear the tags of backups.
	Snapshots func(ctx context.Context, region, namespace string) ([]tags.Snapshot, error)
	// DiscardEBS deletes what EC2 has of a backup, and tells how much is left.
	DiscardEBS func(ctx context.Context, b *api.Backup) (left int, err error)
	// Clock asks the API server how far its clock is ahead; nil where nobody can.
	Clock func(context.Context) (checkup.Skew, error)
	// Pods reaches into pods with the user's rights.
	Pods func() (extract.Pods, error)
	// SystemNamespace is the controller's, where records are kept: the one that the user
	// names, or that locate has found.
	SystemNamespace string
	// systemGiven tells whether the user names it.
	systemGiven bool
	// Version of the plugin.
	Version string
	// Plain: no colour, also on a terminal.
	Plain bool
}

const long = `Back up, restore and look at Community Health Toolkit (CHT) instances.

The work is done by the cht-backup controller in the cluster; this plugin asks
for it and shows how it goes. Stopping the plugin does not stop a backup.

`

// New gives the root command for the user's cluster.
func New(streams genericiooptions.IOStreams, version string) *cobra.Command {
	config := genericclioptions.NewConfigFlags(true)
	env := &Env{IOStreams: streams, Now: time.Now, Terminal: terminal, Follow: follow.Defaults, Snapshots: ec2tags.Read, DiscardEBS: discardEBS(version),
		Namespace: func() (string, error) {
			namespace, _, err := config.ToRawKubeConfigLoader().Namespace()
			return namespace, err
		},
		Connect: func() (client.WithWatch, error) {
			restConfig, err := config.ToRESTConfig()
			if err != nil {
				return nil, err
			}
			restConfig.UserAgent = "kubectl-cht/" + version
			restConfig.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
			return client.NewWithWatch(restConfig, client.Options{Scheme: Scheme()})
		},
		Pods: func() (extract.Pods, error) {
			restConfig, err := config.ToRESTConfig()
			if err != nil {
				return nil, err
			}
			restConfig.UserAgent = "kubectl-cht/" + version
			return podsOf(restConfig)
		},
		Clock: func(ctx context.Context) (checkup.Skew, error) {
			restConfig, err := config.ToRESTConfig()
			if err != nil {
				return checkup.Skew{}, err
			}
			return checkup.APIServerSkew(ctx, restConfig, time.Now)
		}}
	root := Root(env, version)
	config.AddFlags(root.PersistentFlags())
	for flag, find := range map[string]candidates{"namespace": env.asking(env.namespaceNames), "context": contexts(config), "cluster": nil, "user": nil} {
		if find == nil {
			find = words()
		}
		_ = root.RegisterFlagCompletionFunc(flag, completion(find)) // it has none yet
	}
	return root
}

// contexts are those of the kubeconfig.
func contexts(config *genericclioptions.ConfigFlags) candidates {
	return func(context.Context, *cobra.Command, []string, string) (all []string) {
		raw, err := config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil
		}
		for name := range raw.Contexts {
			all = append(all, name)
		}
		return all
	}
}

// Root builds the commands over an environment.
func Root(env *Env, version string) *cobra.Command {
	env.Version = version
	root := &cobra.Command{
		Use: "kubectl-cht", Short: "Backup and restore of CHT instances", Long: long + exit.Help,
		Example: `  kubectl cht status -A                             # how well is each instance backed up
  kubectl cht doctor -A                             # what would fail tonight
  kubectl cht backup -n medic                       # back up now, and watch it
  kubectl cht restore --from medic/NAME --to clone  # an isolated copy beside it`,
		Annotations:  map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl cht"},
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.ErrOut)
	env.SystemNamespace = DefaultSystemNamespace
	root.PersistentFlags().Var(&systemNamespace{env}, systemFlag, "Namespace of the cht-backup controller, where the records of backups are kept; found by itself where you may look")
	root.AddCommand(backupCommand(env), restoreCommand(env), listCommand(env), describeCommand(env), deleteCommand(env),
		scheduleCommand(env), drillCommand(env), statusCommand(env), holdCommand(env), releaseCommand(env), retentionCommand(env), doctorCommand(env), catalogCommand(env), repoCommand(env), completionCommand(env), versionCommand(env, version))
	root.PersistentFlags().BoolVar(&env.Plain, "no-color", false, "No colour, also on a terminal; so does a NO_COLOR in the environment")
	env.addCompletion(root)
	return root
}

// Scheme knows every kind that the plugin reads or writes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds of one name: a mistake in the program
		}
	}
	return scheme
}

func (e *Env) records(c client.Client) catalog.Store {
	return catalog.Store{Client: c, Namespace: e.SystemNamespace}
}

// open gives a client and the namespace to work in.
func (e *Env) open() (client.WithWatch, string, error) {
	c, err := e.Connect()
	if err != nil {
		return nil, "", kubeconfigError(err)
	}
	namespace, err := e.Namespace()
	if err != nil {
		return nil, "", kubeconfigError(err)
	}
	return c, namespace, nil
}

// kubeconfigError: making a client asks no cluster yet, so that whatever fails
// there is in the kubeconfig or in the flags.
func kubeconfigError(err error) error {
	return exit.Errorf(exit.Usage, "read the kubeconfig: %w; check KUBECONFIG, --kubeconfig and --context (`kubectl config get-contexts`)", err)
}

// bound limits a wait; 0 waits for as long as it takes.
func bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, errTimedOut)
}

func terminal(stream any) (width func() int, ok bool) {
	file, isFile := stream.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return func() int {
		w, _, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 80
		}
		return w
	}, true
}
