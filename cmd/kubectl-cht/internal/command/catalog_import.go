package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

func catalogImportCommand(env *Env) *cobra.Command {
	var where elsewhere
	var which choice
	var with completing
	var uid string
	var allowed []string
	cmd := &cobra.Command{
		Use: "import URL/NAMESPACE[/NAME]", Short: "Write the record of a backup outside the cluster into this cluster",
		Long: `Read the record of a backup from a catalog, check it, open its sealed Secrets on this
machine, and write it into the controller's namespace with your rights. It can then be
restored like any backup whose Backup is gone. Importing it again changes nothing.

With --from-tags REGION the record is made from the tags of EBS snapshots. It holds no
objects: give them with --objects.

` + exit.Help,
		Example: `  kubectl cht catalog import s3://my-backups/cht/medic --as-of 2026-03-01 --identity cht-catalog.key --to medic-clone
  helm template cht CHART -n medic -f values.yaml > medic.yaml
  kubectl cht catalog import --from-tags eu-west-1 medic --objects medic.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.importCommand(cmd.Context(), &where, &which, &with, uid, args[0], allowed)
		},
	}
	where.add(cmd.Flags())
	which.add(cmd.Flags())
	with.add(cmd.Flags())
	cmd.Flags().StringVar(&uid, "uid", "", "UID of the backup, where several had the same name")
	cmd.Flags().StringSliceVar(&allowed, "to", nil, "Namespaces that it may be restored into, beside its own")
	return cmd
}

func (e *Env) importCommand(ctx context.Context, where *elsewhere, which *choice, with *completing, uid, argument string, allowed []string) error {
	for _, namespace := range allowed {
		if err := checkNamespace("--to", namespace); err != nil {
			return err
		}
	}
	kept, err := e.readOffsite(ctx, where, which, with, uid, argument)
	if err != nil {
		return err
	}
	if kept.record.Compose != nil {
		return exit.Errorf(exit.Usage, "backup %s/%s is of a Docker Compose project, and has no objects of Kubernetes before it is restored; restore it with: kubectl cht restore --from %s/%s/%s --to NAMESPACE", kept.record.Namespace, kept.record.Name, kept.source, kept.record.Namespace, kept.record.Name)
	}
	c, _, err := e.open()
	if err != nil {
		return err
	}
	e.locate(ctx, c, kept.record.Namespace)
	if err := e.mergeCredentials(ctx, c, with, &kept); err != nil {
		return err
	}
	what := kept.record.Namespace + "/" + kept.record.Name
	live, err := isLive(ctx, c, kept.record)
	if err != nil {
		return err
	}
	if live {
		return writeLines(e.Out, []string{fmt.Sprintf("backup %s (UID %s) is in this cluster itself; nothing is imported", what, kept.record.UID)})
	}
	kept.record.ImportedFrom = kept.source
	keys := e.grantKeys(c, &kept, false)
	if err := keys.give(ctx, false); err != nil {
		return err
	}
	done, err := e.importRecord(ctx, c, kept.record, allowed, false)
	if err != nil {
		return errors.Join(err, keys.take(ctx))
	}
	if len(kept.keys) == 0 && needsFiles(kept.record, api.DataAuto) {
		e.note("the key of the repository that its files are in is not given to the controller; import it again with --identity FILE before it is restored, unless this cluster has it")
	}
	if text := lacks(offsite.Lacking(kept.record, kept.manifest.Secrets.Held), &kept); text != "" && !done.kept {
		e.note("%s; import it again with them before it is restored", text)
	}
	word := "is imported"
	if !done.changed() {
		word = "was imported before, nothing is changed"
	}
	return writeLines(e.Out, []string{
		fmt.Sprintf("backup %s (cut %s) %s: secret %s/%s", what, kept.record.CutTime.UTC().Format("2006-01-02T15:04:05Z"), word, e.SystemNamespace, done.head),
		fmt.Sprintf("Restore it: kubectl cht restore --from %s --uid %s --to NAMESPACE", what, kept.record.UID)})
}

// readOffsite reads a backup from a catalog or from tags, and completes it with what
// is on this machine.
func (e *Env) readOffsite(ctx context.Context, where *elsewhere, which *choice, with *completing, uid, argument string) (kept offsiteKept, err error) {
	if where.region != "" {
		if where.catalog != "" || offsite.IsURL(argument) {
			return kept, exit.Errorf(exit.Usage, "--from-tags reads no catalog; give NAMESPACE or NAMESPACE/NAME without a URL")
		}
		kept, err = e.readSet(ctx, where.region, argument, which, uid)
	} else {
		var place string
		if place, err = e.place(ctx, where.catalog, argument); err != nil {
			return kept, err
		}
		kept, err = e.readKept(ctx, place, which, &with.identity, uid)
	}
	if err != nil {
		return kept, err
	}
	if err := e.mergeObjects(with, &kept); err != nil || !kept.record.FromTags {
		return kept, err
	}
	what := kept.record.Namespace + "/" + kept.record.Name
	if with.objects == "" {
		return kept, exit.Errorf(exit.Usage, "tags tell of volumes, and of no object of Kubernetes: give those of the instance with --objects, as `helm template RELEASE CHART -n %s -f VALUES` writes them, for %d CouchDB nodes and backup %s", kept.record.Namespace, len(kept.record.Nodes), what)
	}
	if err := offsite.Fits(kept.record); err != nil {
		return kept, exit.Errorf(exit.Refused, "--objects %s does not fit backup %s: %w", with.objects, what, err)
	}
	return kept, nil
}

// isLive tells whether the backup itself is in this cluster, and no other of its name.
func isLive(ctx context.Context, c client.Client, r catalog.Record) (bool, error) {
	var b api.Backup
	err := c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, &b)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, exit.Explain(fmt.Sprintf("look for backup %s/%s", r.Namespace, r.Name), err)
	}
	return b.UID == r.UID, nil
}

// imported is what an import did.
type imported struct {
	head string
	// made, replaced: the record was written; widened: more namespaces are allowed.
	made, replaced, widened bool
	// kept tells that the record that was there holds more, and stays.
	kept bool
	// before are the namespaces that were allowed.
	before []string
}

func (i imported) changed() bool { return i.made || i.replaced || i.widened }

// importRecord writes a record, unless it is there. One that is there and holds more,
// such as Secrets, is not made poorer.
func (e *Env) importRecord(ctx context.Context, c client.Client, r catalog.Record, allowed []string, dryRun bool) (imported, error) {
	store := e.records(c)
	if dryRun {
		store.Client = client.NewDryRunClient(c)
	}
	what := fmt.Sprintf("import the record of backup %s/%s", r.Namespace, r.Name)
	allowed = slices.DeleteFunc(slices.Clone(allowed), func(n string) bool { return n == r.Namespace })
	heads, err := store.List(ctx, r.Namespace)
	if err != nil {
		return imported{}, exit.Explain(what, err)
	}
	at := slices.IndexFunc(heads, func(h catalog.Head) bool { return h.UID == r.UID })
	if at < 0 {
		head, err := store.Put(ctx, r, allowed)
		return imported{head: head, made: true}, exit.Explain(what, err)
	}
	there := heads[at]
	done := imported{head: there.Secret, before: there.AllowedNamespaces}
	r.ImportedFrom = there.ImportedFrom // the record of a backup of this cluster stays one
	old, err := store.Get(ctx, there.Secret)
	if err == nil {
		if done.kept = poorer(r, old); done.kept {
			copies := r.Nodes
			r = old
			r.Nodes = copies
		}
	}
	all := slices.Clone(there.AllowedNamespaces)
	for _, n := range allowed {
		if !allows(all, n) {
			all, done.widened = append(all, n), true
		}
	}
	if err == nil && same(r, old) {
		if done.widened {
			err = store.Allow(ctx, there.Secret, all)
		}
		return done, exit.Explain(what, err)
	}
	if err := e.unread(ctx, c, there); err != nil {
		return done, err
	}
	done.replaced = true
	if _, err := store.Put(ctx, r, all); err != nil {
		return done, exit.Explain(what, err)
	}
	if there.Hold != "" {
		err = store.Hold(ctx, there.Secret, there.Hold)
	}
	return done, exit.Explain(what, err)
}

// unread refuses to replace a record that a restore reads.
func (e *Env) unread(ctx context.Context, c client.Client, head catalog.Head) error {
	if err := e.unused(ctx, c, head); err != nil {
		return exit.Errorf(exit.Of(err), "the record that is there differs and is not replaced now: %w", err)
	}
	return nil
}

// same tells whether two records say the same.
func same(a, b catalog.Record) bool {
	one, err := catalog.Encode(a)
	if err != nil {
		return false
	}
	two, err := catalog.Encode(b)
	return err == nil && bytes.Equal(one, two)
}

// poorer tells whether a record lacks objects or values that another of the same
// backup has.
func poorer(r, than catalog.Record) bool {
	has := map[[3]string]bool{}
	for _, raw := range r.Objects {
		if o, err := catalog.CheckObject(raw, r.Namespace); err == nil {
			has[[3]string{o.APIVersion, o.Kind, o.Metadata.Name}] = true
		}
	}
	for _, raw := range than.Objects {
		if o, err := catalog.CheckObject(raw, r.Namespace); err == nil && !has[[3]string{o.APIVersion, o.Kind, o.Metadata.Name}] {
			return true
		}
	}
	return len(bucket.Placeholders(r)) > len(bucket.Placeholders(than))
}

// grantByImport allows a restore by importing the record for it. It is taken back when
// the restore does not begin.
func (e *Env) grantByImport(c client.Client, r catalog.Record, to string) grant {
	var done imported
	store := e.records(c)
	return grant{
		give: func(ctx context.Context, dryRun bool) error {
			now, err := e.importRecord(ctx, c, r, []string{to}, dryRun)
			if !dryRun {
				done = now
			}
			return err
		},
		take: func(ctx context.Context) error {
			switch {
			case done.made:
				return store.Delete(ctx, r.UID)
			case done.widened:
				return store.Allow(ctx, done.head, done.before)
			}
			return nil
		},
	}
}
