package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/readiness"
)

// completeWithin bounds one completion: somebody has pressed a key.
const completeWithin = 2500 * time.Millisecond

// noFiles: what is completed here are never files.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// candidates are words, each with a description after a tab. What fails gives none:
// whoever presses Tab asks for no error.
type candidates func(ctx context.Context, cmd *cobra.Command, args []string, typed string) []string

// completion makes what cobra calls, which also leaves out what does not begin as
// what was typed.
func completion(find candidates) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		all := slices.DeleteFunc(find(ctx, cmd, args, typed), func(c string) bool { return !strings.HasPrefix(c, typed) })
		slices.Sort(all)
		directive := noFiles
		// After these comes the rest of the word.
		if len(all) > 0 && !slices.ContainsFunc(all, func(c string) bool { word, _, _ := strings.Cut(c, "\t"); return !strings.HasSuffix(word, "/") }) {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return slices.Compact(all), directive
	}
}

// words gives fixed ones.
func words(all ...string) candidates {
	return func(context.Context, *cobra.Command, []string, string) []string { return slices.Clone(all) }
}

// asking is for what a cluster is asked for.
func (e *Env) asking(find func(ctx context.Context, c client.Client, namespace string) []string) candidates {
	return func(ctx context.Context, _ *cobra.Command, _ []string, _ string) []string {
		c, namespace, err := e.open()
		if err != nil {
			return nil
		}
		return find(ctx, c, namespace)
	}
}

// first completes the first argument alone.
func first(find candidates) candidates {
	return func(ctx context.Context, cmd *cobra.Command, args []string, typed string) []string {
		if len(args) > 0 {
			return nil
		}
		return find(ctx, cmd, args, typed)
	}
}

// afterKind completes [backup] NAME.
func afterKind(find candidates) candidates {
	return func(ctx context.Context, cmd *cobra.Command, args []string, typed string) []string {
		switch {
		case len(args) == 0:
			return append(find(ctx, cmd, args, typed), "backup\tKIND NAME")
		case len(args) == 1 && args[0] == "backup":
			return find(ctx, cmd, args, typed)
		}
		return nil
	}
}

// ofAnyKind completes [KIND] NAME.
func (e *Env) ofAnyKind() candidates {
	kinds := map[string]candidates{"backup": e.asking(e.backupNames), "restore": e.asking(e.restoreNames), "drill": e.asking(e.restoreNames), "schedule": e.asking(scheduleNames)}
	return func(ctx context.Context, cmd *cobra.Command, args []string, typed string) (all []string) {
		if len(args) == 1 && kinds[args[0]] != nil {
			return kinds[args[0]](ctx, cmd, args, typed)
		}
		if len(args) > 0 {
			return nil
		}
		for _, kind := range []string{"backup", "restore", "schedule"} { // a drill is a restore
			all = append(all, kinds[kind](ctx, cmd, args, typed)...)
		}
		return append(all, "backup\tKIND NAME", "restore\tKIND NAME", "drill\tKIND NAME", "schedule\tKIND NAME")
	}
}

// files are the flags whose values are files, which the shell knows.
var files = []string{"identity", "objects", "remap", "drill-remap", "kubeconfig", "client-certificate", "client-key", "certificate-authority", "cache-dir"}

// addCompletion gives every command what completes its arguments, and every flag what
// completes its value.
func (e *Env) addCompletion(root *cobra.Command) {
	schedules, backups := first(e.asking(scheduleNames)), e.asking(e.backupNames)
	arguments := map[string]candidates{
		"describe": e.ofAnyKind(), "delete": afterKind(backups), "hold": afterKind(backups), "release": afterKind(backups),
		"drill": first(e.asking(e.goodBackups)), "restore abort": first(e.asking(underWay)), "retention explain": schedules,
		"schedule suspend": schedules, "schedule resume": schedules, "schedule trigger": schedules, "schedule delete": schedules,
		"catalog list": first(e.inCatalog), "catalog show": first(e.inCatalog), "catalog import": first(e.inCatalog), "catalog restore": first(e.inCatalog), "repo get": first(e.inCatalog),
	}
	namespaces := e.asking(e.namespaceNames)
	flags := map[string]candidates{
		"to": namespaces, "allow-namespace": namespaces, "system-namespace": namespaces, "from": e.sources,
		"database": e.databases, "storage-class": e.asking(storageClasses), "snapshot-class": e.asking(snapshotClasses), "ingress-class": e.asking(ingressClasses), "zone": e.asking(zones),
		"verify": words(verifyLevels...), "drill-verify": words(verifyLevels...), "data-from": words(dataSources...), "quiesce": words(quiesceModes...), "on-unavailable": words("Fail", "Degrade"),
		"check": words(readiness.Checks...), "ebs-provision": words("Driver", "Static"),
	}
	each(root, func(cmd *cobra.Command) {
		if find := arguments[strings.TrimPrefix(cmd.CommandPath(), root.CommandPath()+" ")]; find != nil {
			cmd.ValidArgsFunction = completion(find)
		} else if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && !cmd.HasSubCommands() {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			find := flags[f.Name]
			if known, is := strings.CutPrefix(f.Usage, outputUsage); f.Name == "output" && is {
				find = words(strings.Split(known, ", ")...)
			}
			switch {
			case find != nil:
				_ = cmd.RegisterFlagCompletionFunc(f.Name, completion(find)) // fails where the flag has one already
			case !slices.Contains(files, f.Name) && f.Name != "output":
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
			}
		})
	})
}

// each visits a command and all below.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		each(c, visit)
	}
}
