package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fill "github.com/medic/cht-backup/restore/compose"
	schedule "github.com/medic/cht-backup/schedule/compose"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

func composeVerifyCommand() *cobra.Command {
	f, source, level := &composeFlags{}, &composeSource{}, ""
	command := &cobra.Command{
		Use: "verify --project DIR", Short: "Compare the CHT that runs with the backup that it was restored from", Args: cobra.NoArgs,
		Long: `Compare the CouchDB that runs with the backup that it was restored from: shards, counts of
documents, a sample of them. Call it before anybody writes: start CouchDB's services alone.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.fromFile(cmd.Flags()); err != nil {
				return err
			}
			b, r, _, err := source.open(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Close()) }()
			instance, err := f.running(cmd.Context())
			if err != nil {
				return err
			}
			v, err := fill.Verify(cmd.Context(), instance.Asked(), r, api.VerificationLevel(level), func(doing string) { say("%s", doing) })
			for _, problem := range v.Problems {
				say("PROBLEM %s", problem)
			}
			if err != nil {
				return err
			}
			say("the CHT holds what backup %s/%s recorded: %d databases, %d documents", r.Namespace, r.Name, v.Databases, v.Documents)
			return nil
		},
	}
	f.add(command.Flags())
	source.add(command.Flags())
	command.Flags().StringVar(&level, "verify", string(api.VerifySample), "how much is compared: Quick, Sample, Full")
	return command
}

func composeListCommand() *cobra.Command {
	f := &composeFlags{}
	all := false
	command := &cobra.Command{
		Use: "list --catalog URL", Short: "List the backups of Compose projects in a catalog", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.fromFile(cmd.Flags()); err != nil {
				return err
			}
			if err := f.needCatalog(); err != nil {
				return err
			}
			namespace := ""
			if !all {
				if _, namespace, err = f.project(); err != nil && f.instance != "" {
					namespace, err = catalog.ComposeNamespace(f.instance)
				}
				if err != nil {
					return fmt.Errorf("%w; or list those of all projects with --all", err)
				}
			}
			b, _, err := bucket.Find(cmd.Context(), f.catalog)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Close()) }()
			out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(out, "INSTANCE\tNAME\tCUT\tHOST\tNODES\tDATABASES\tDOCUMENTS\tSECRETS")
			_, err = b.Heads(cmd.Context(), namespace, func(h bucket.Head) error {
				if !catalog.IsComposeNamespace(h.Namespace) {
					return nil
				}
				m, err := b.Manifest(cmd.Context(), h)
				if err != nil {
					say("%v", err)
					return nil
				}
				_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", h.Namespace, h.Name, h.CutTime.UTC().Format(time.RFC3339), m.Cluster, len(m.Nodes), m.Databases, m.Documents, m.Secrets.State)
				return nil
			})
			return errors.Join(err, out.Flush())
		},
	}
	f.add(command.Flags())
	command.Flags().BoolVar(&all, "all", false, "those of all projects")
	return command
}

// unitsIn is where systemd looks for an administrator's units.
const unitsIn = "/etc/systemd/system"

func composeScheduleCommand() *cobra.Command {
	t, file, install := schedule.Timer{}, "", false
	command := &cobra.Command{
		Use: "schedule --config FILE", Short: "Print the systemd units that take backups by the clock, or install them", Args: cobra.NoArgs,
		Long: `Print a systemd service and its timer, which take the backups that a file of flags
describes (see docs/compose.md), or write them to ` + unitsIn + ` with --install. Then:

  systemctl daemon-reload && systemctl enable --now cht-backup-compose.timer`,
		RunE: func(*cobra.Command, []string) error {
			path, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("--config: %w; write the flags of compose backup into it, as YAML", err)
			}
			if t.Program, err = os.Executable(); err != nil {
				return err
			}
			t.Arguments = []string{"--config", path}
			units, err := t.Units()
			if err != nil {
				return err
			}
			for _, u := range units {
				if !install {
					say("# %s/%s\n%s", unitsIn, u.Name, u.Text)
					continue
				}
				if err := os.WriteFile(filepath.Join(unitsIn, u.Name), []byte(u.Text), 0o644); err != nil { //nolint:gosec // units are read by everybody
					return err
				}
				say("written: %s", filepath.Join(unitsIn, u.Name))
			}
			return nil
		},
	}
	command.Flags().SortFlags = false
	command.Flags().StringVar(&file, "config", "/etc/cht-backup/compose.yaml", "`FILE` with the flags of compose backup")
	command.Flags().StringVar(&t.Name, "unit", "cht-backup-compose", "name of the units")
	command.Flags().StringVar(&t.OnCalendar, "on-calendar", "*-*-* 01:30:00", "when, as man systemd.time says it; a zone may follow")
	command.Flags().StringVar(&t.Spread, "spread", "30m", "random delay, so that many machines do not come at once")
	command.Flags().BoolVar(&install, "install", false, "write them to "+unitsIn)
	return command
}
