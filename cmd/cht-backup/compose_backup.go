package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	api "github.com/medic/cht-backup/api/v1alpha1"
	keep "github.com/medic/cht-backup/schedule/compose"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/schedule/when"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/compose"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// composeBackup is `compose backup`.
type composeBackup struct {
	composeFlags
	recipients []string
	backup     string
	maxStall   time.Duration
	zone       string
	keeps      map[string]*int32
	within     string
	plan       bool
}

func (f *composeBackup) add(flags *pflag.FlagSet) {
	f.composeFlags.add(flags)
	flags.StringSliceVar(&f.recipients, "recipients", nil, "public keys, age1…, that .env, compose files, certificates and the repository's key are sealed to; without one they are left out")
	flags.StringVar(&f.backup, "name", "", "name of the backup (default: backup-YYYYMMDD-HHMMSS, UTC)")
	flags.DurationVar(&f.maxStall, "max-stall", pause.Bound, "how long CouchDB may be held, 2s at most")
	f.keeps = map[string]*int32{}
	for _, rule := range []string{"last", "hourly", "daily", "weekly", "monthly", "yearly"} {
		f.keeps[rule] = flags.Int32("keep-"+rule, 0, "how many backups are kept, one for each of the newest periods: "+rule)
	}
	flags.Lookup("keep-last").Usage = "how many of the newest backups are kept; without any rule all are"
	flags.StringVar(&f.within, "keep-within", "", "keep all that are no older, such as 48h or 14d")
	flags.StringVar(&f.zone, "time-zone", "Etc/UTC", "zone of the days and weeks that are kept, such as Africa/Nairobi")
	flags.BoolVar(&f.plan, "retention-plan", false, "take no backup; tell which would be kept, and why")
}

func composeBackupCommand() *cobra.Command {
	f := &composeBackup{}
	command := &cobra.Command{
		Use: "backup --project DIR --catalog URL", Short: "Take a backup: CouchDB is held for some milliseconds, and copied while it goes on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fromFile(cmd.Flags()); err != nil {
				return err
			}
			return f.run(cmd.Context())
		},
	}
	f.add(command.Flags())
	return command
}

// policy is what is kept.
func (f *composeBackup) policy() (retention.Policy, *time.Location, error) {
	zone, err := when.Zone(f.zone)
	if err != nil {
		return retention.Policy{}, nil, fmt.Errorf("--time-zone: %w", err)
	}
	r, asked := &api.Retention{KeepWithin: f.within}, f.within != ""
	for rule, into := range map[string]**int32{"last": &r.KeepLast, "hourly": &r.KeepHourly, "daily": &r.KeepDaily, "weekly": &r.KeepWeekly, "monthly": &r.KeepMonthly, "yearly": &r.KeepYearly} {
		if n := f.keeps[rule]; *n != 0 {
			*into, asked = n, true
		}
	}
	if !asked {
		r = nil
	}
	p, err := retention.PolicyOf(r)
	return p, zone, err
}

func (f *composeBackup) run(ctx context.Context) (err error) {
	policy, zone, err := f.policy()
	if err != nil {
		return err
	}
	if err := f.needCatalog(); err != nil {
		return err
	}
	if f.maxStall <= 0 || f.maxStall > pause.Bound {
		return fmt.Errorf("--max-stall is %s; more than 0 and at most %s", f.maxStall, pause.Bound)
	}
	p, namespace, err := f.project()
	if err != nil {
		return err
	}
	if f.backup == "" {
		f.backup = "backup-" + time.Now().UTC().Format("20060102-150405")
	}
	if err := catalog.CheckIdentity(namespace, f.backup, "any"); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	state := f.place(namespace)
	unlock, err := compose.Lock(state)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := bucket.Open(ctx, f.catalog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.Found(ctx); err != nil {
		return err
	}
	r, err := compose.Repository(ctx, b, state, f.recipients, repo.Options{})
	if err != nil {
		return err
	}
	retire := keep.Retire{Bucket: b, Repository: r, Namespace: namespace, Host: f.host, Policy: policy, Zone: zone, Now: time.Now, Plan: f.plan, Say: say}
	if f.plan {
		plan, err := retire.Run(ctx)
		for _, d := range plan {
			word := "keep"
			if !d.Keep {
				word = "remove"
			}
			say("%-6s %s  %s", word, d.Name, d.Reason())
		}
		return err
	}
	instance, err := f.find(ctx, p)
	if err != nil {
		return err
	}
	if len(f.recipients) == 0 {
		say("no recipients are given: what is sealed in this backup, and the key to its files, are on this machine alone (%s). Make a key with `kubectl cht catalog keygen`, and give --recipients", state)
	}
	done, err := compose.Backup{Bucket: b, Repository: r, Namespace: namespace, Name: f.backup, Host: f.host, Program: version, Recipients: f.recipients,
		Guard: watchdog(), MaxStall: f.maxStall, Say: say}.Take(ctx, instance)
	if err != nil {
		return err
	}
	say("backup %s/%s is complete: CouchDB was held for %d ms, %d bytes were sent", namespace, f.backup, done.Stall.Length().Milliseconds(), done.Sent)
	if _, err := retire.Run(ctx); err != nil {
		return fmt.Errorf("the backup is complete; its retention: %w", err)
	}
	return nil
}
