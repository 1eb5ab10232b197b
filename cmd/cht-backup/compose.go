package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/compose"
	"github.com/medic/cht-backup/snapshot/compose/engine"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/compose/project"
)

func composeCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "compose", Short: "Back up and restore a CHT that Docker Compose runs, on the machine that it runs on",
		Long: `Back up and restore a CHT that Docker Compose runs, on the machine that it runs on, as
root. Backups go into a catalog, as those of Kubernetes do, and can be restored there:

  kubectl cht restore --from CATALOG-URL/NAME.compose --to NAMESPACE --identity FILE

Credentials for the bucket come from the environment. See docs/compose.md.`,
	}
	command.AddCommand(composeBackupCommand(), composeRestoreCommand(), composeVerifyCommand(), composeListCommand(), composeScheduleCommand(), composeResumeCommand(), composeWatchCommand())
	return command
}

// composeFlags are those of all subcommands.
type composeFlags struct {
	file string

	dir, name, envFile, instance, engine string
	nodes                                []string
	certificates, catalog, state, host   string
}

func (f *composeFlags) add(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&f.file, "config", "", "`FILE` in YAML with any of these flags, such as keep-daily: 7; the command line wins over it")
	flags.StringVar(&f.dir, "project", ".", "`DIR` of the Compose project: its compose files and .env, or directories with them")
	flags.StringVar(&f.name, "project-name", "", "Compose's name of the project (default: as Compose finds it)")
	flags.StringVar(&f.envFile, "env-file", "", "`FILE` of the environment, where there are several .env")
	flags.StringVar(&f.instance, "instance", "", "what the backups are filed under, as NAME.compose (default: the project's name)")
	flags.StringVar(&f.catalog, "catalog", "", "`URL` of the catalog: s3://BUCKET/PREFIX, gs://…, azblob://… or file:///DIRECTORY")
	flags.StringVar(&f.engine, "engine", "", "`SOCKET` of the container engine (default: Docker's, else Podman's)")
	flags.StringArrayVar(&f.nodes, "node", nil, "a CouchDB where no engine can be asked: `SERVICE=PID[,url=URL][,data=DIR][,config=DIR]`; repeatable")
	flags.StringVar(&f.certificates, "certificates", "", "`DIR` with nginx's cert.pem and key.pem (default: as its container has them)")
	flags.StringVar(&f.state, "state", "/var/lib/cht-backup", "`DIR` for the keys of this machine's repositories")
	flags.StringVar(&f.host, "host", compose.Host(), "name of this machine in records")
}

// fromFile takes what the command line leaves out from the file.
func (f *composeFlags) fromFile(flags *pflag.FlagSet) error {
	if f.file == "" {
		return nil
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		return fmt.Errorf("--config %s: it is no YAML of the form FLAG: VALUE", f.file)
	}
	// What stands there for another command is not meant for this one.
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&composeBackup{}).add(known)
	for name, value := range values {
		if known.Lookup(name) == nil {
			return fmt.Errorf("--config %s: there is no flag --%s", f.file, name)
		}
		flag := flags.Lookup(name)
		if flag == nil || flag.Changed {
			continue
		}
		items, list := value.([]any)
		if !list {
			items = []any{value}
		}
		for _, item := range items {
			if err := flags.Set(name, fmt.Sprint(item)); err != nil {
				return fmt.Errorf("--config %s: %s: %w", f.file, name, err)
			}
		}
	}
	return nil
}

// project reads the project and gives the namespace of its records.
func (f *composeFlags) project() (p project.Project, namespace string, err error) {
	if p, err = project.Load(f.dir, project.Options{Name: f.name, EnvFile: f.envFile}); err != nil {
		return p, "", err
	}
	namespace, err = catalog.ComposeNamespace(cmp.Or(f.instance, p.Name))
	return p, namespace, err
}

// running finds what runs of the project.
func (f *composeFlags) running(ctx context.Context) (compose.Instance, error) {
	p, _, err := f.project()
	if err != nil {
		return compose.Instance{}, err
	}
	return f.find(ctx, p)
}

// find finds what runs.
func (f *composeFlags) find(ctx context.Context, p project.Project) (compose.Instance, error) {
	l := compose.Looking{Certificates: f.certificates}
	for _, text := range f.nodes {
		g, err := compose.ParseGiven(text)
		if err != nil {
			return compose.Instance{}, fmt.Errorf("--node: %w", err)
		}
		l.Given = append(l.Given, g)
	}
	if len(l.Given) == 0 {
		var err error
		if l.Engine, err = engine.Find(f.engine); err != nil {
			return compose.Instance{}, fmt.Errorf("%w; name its socket with --engine, or CouchDB's processes with --node", err)
		}
	}
	return compose.Find(ctx, p, l)
}

// place is where this machine keeps the keys of an instance.
func (f *composeFlags) place(namespace string) string {
	return filepath.Join(f.state, "compose", namespace)
}

func (f *composeFlags) needCatalog() error {
	if f.catalog == "" {
		return errors.New("no catalog is named; give its URL with --catalog")
	}
	return nil
}

// watchdog is this very program, which continues CouchDB when the one that held it is
// gone.
func watchdog() pause.Guard {
	return pause.Watchdog{Command: func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", "compose", watchCommand)
		cmd.Stderr = os.Stderr
		return cmd
	}}
}

const watchCommand = "watch"

func composeWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use: watchCommand, Hidden: true, Args: cobra.NoArgs, Short: "Continue CouchDB when the backup that holds it is gone (run by compose backup)",
		RunE: func(*cobra.Command, []string) error { return pause.Watch(os.Stdin, os.Stdout) },
	}
}

func composeResumeCommand() *cobra.Command {
	f := &composeFlags{}
	command := &cobra.Command{
		Use: "resume", Short: "Continue CouchDB if anything left it stopped", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fromFile(cmd.Flags()); err != nil {
				return err
			}
			instance, err := f.running(cmd.Context())
			if err != nil {
				return err
			}
			held, err := instance.Resume()
			if held {
				fmt.Fprintln(os.Stderr, "CouchDB was stopped; it goes on")
			}
			return err
		},
	}
	f.add(command.Flags())
	return command
}

// say tells the operator, or systemd's journal.
func say(format string, args ...any) {
	fmt.Println(strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}
