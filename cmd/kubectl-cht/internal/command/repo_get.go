package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/extract"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// getting are the flags of reading one database.
type getting struct {
	catalog, uid, image, doc string
	which                    choice
	identity                 identityFlag
	attachments              bool
	timeout                  time.Duration
}

func repoGetCommand(env *Env) *cobra.Command {
	var g getting
	cmd := &cobra.Command{
		Use: "get URL/NAMESPACE[/BACKUP] DATABASE", Short: "Print one database of a backup, without restoring an instance",
		Long: `Print the documents of one database as they were at the cut, one JSON document a line, or
with --doc all that is known of one document. The database's files are read from the
repository on this machine, compared with their IDs, and sent into a throw-away CouchDB
pod in the namespace of -n, which needs no CHT and no controller: it has a password of
its own, no Service, no account, listens on its own loopback address alone, and is
deleted at the end. It needs the right to create, watch, exec into, port-forward to and
delete pods there, and room for the database's files on a machine's disk.

The documents are in the order of their ids, with the data of their attachments, and can
be written into another database by its _bulk_docs with "new_edits": false. Deleted
documents are not among them. With --doc there are all leaf revisions, deleted ones too,
each with the names of the revisions before it (_revisions), and then those of the
earlier ones that CouchDB's compaction had not dropped yet.

NAMESPACE/BACKUP alone is one of the catalog in --catalog, in ` + catalogVariable + `, or in the
controller's settings; NAMESPACE is its newest good backup. The backup must have a copy
of its files: of method File, or with spec.file.copy.

` + exit.Help,
		Example: `  kubectl cht repo get s3://my-backups/cht/medic/nightly-20260301 medic --identity cht-catalog.key -n scratch > docs.jsonl
  kubectl cht repo get medic/nightly-20260301 medic --doc report-77 | jq .`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.getDatabase(cmd.Context(), &g, args[0], args[1])
		},
	}
	addCatalogFlag(cmd, &g.catalog)
	g.which.add(cmd.Flags())
	g.identity.add(cmd.Flags())
	cmd.Flags().StringVar(&g.uid, "uid", "", "UID of the backup, where several had the same name")
	cmd.Flags().StringVar(&g.doc, "doc", "", "Print the revisions of the document of this `ID` alone")
	cmd.Flags().BoolVar(&g.attachments, "attachments", true, "Print attachments with their data; false leaves their names, lengths and digests")
	cmd.Flags().StringVar(&g.image, "image", "", "CouchDB's image (default: the one that it ran when the backup was made)")
	cmd.Flags().DurationVar(&g.timeout, "timeout", 2*time.Hour, "How long it may take in all; Kubernetes ends the pod some time later in any case")
	return cmd
}

func (e *Env) getDatabase(ctx context.Context, g *getting, argument, database string) (err error) {
	if g.timeout < time.Minute {
		return exit.Errorf(exit.Usage, "--timeout %s is too short for a pod to start; give a time such as 30m", g.timeout)
	}
	bounded, cancel := bound(ctx, g.timeout)
	defer cancel()
	source, err := e.chooseFiles(bounded, g, argument, database)
	if err != nil {
		return cutShort(ctx, bounded, g, err)
	}
	defer source.bucket.Close() //nolint:errcheck // only read
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	pods, err := e.Pods()
	if err != nil {
		return kubeconfigError(err)
	}
	// The pod's end is Kubernetes' where this machine does not live to see it.
	spec := extract.Spec{Namespace: namespace, Image: source.image, Bytes: source.database.Size(), Within: g.timeout + 5*time.Minute}
	couch := extract.New(c, pods, spec)
	defer func() { err = errors.Join(err, e.removed(ctx, couch, namespace)) }()
	e.note("CouchDB starts in pod %s/%s (%s), for %d files of database %s, %d MiB", namespace, couch.Name(), source.image, len(source.database.Shards), database, source.database.Size()>>20)
	if err := couch.Start(bounded); err != nil {
		return cutShort(ctx, bounded, g, podError("start a throw-away CouchDB", err))
	}
	return cutShort(ctx, bounded, g, e.printDatabase(bounded, g, source, couch))
}

// printDatabase fills the pod and prints what CouchDB reads there.
func (e *Env) printDatabase(ctx context.Context, g *getting, source *fileSource, pod *extract.ThrowAway) error {
	name := source.database.Name
	if err := pod.Fill(ctx, source.repository, source.database, source.trees, e.tellingBytes(name)); err != nil {
		return exit.Errorf(exit.Failed, "send the files of database %s into the pod: %w; if an object of the repository is damaged, `kubectl cht repo check --read-data` tells which backups need it", name, err)
	}
	couch, err := pod.Serve(ctx, source.database)
	if err != nil {
		return podError("read the files with CouchDB", err)
	}
	infos, err := couch.Infos(ctx, []string{name})
	if err != nil {
		return exit.Errorf(exit.Failed, "count the documents of database %s: %w", name, err)
	}
	differences := extract.Compare(source.record, name, infos[name].Counts)
	out := bufio.NewWriter(e.Out)
	if g.doc != "" {
		err = e.printRevisions(ctx, g, couch, name, out)
	} else {
		var n int64
		n, err = extract.Documents(ctx, couch, name, g.attachments, out)
		if counted := infos[name].Documents; err == nil && n != counted {
			differences = append(differences, fmt.Sprintf("CouchDB counts %d living documents in database %s, and gave %d", counted, name, n))
		}
		if err == nil {
			e.note("%d documents of database %s; %d deleted ones are not among them", n, name, infos[name].Deleted)
		}
	}
	if flushed := out.Flush(); err == nil && flushed != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", flushed)
	}
	if err != nil {
		return notWhole(err)
	}
	for _, d := range differences {
		e.note("%s", d)
	}
	if len(differences) > 0 {
		return exit.Errorf(exit.Trouble, "all was printed, but it is not what was counted when the backup was made; compare with another backup, or look for damage with `kubectl cht repo check --read-data`")
	}
	return nil
}

func (e *Env) printRevisions(ctx context.Context, g *getting, couch *couchdb.Client, database string, out *bufio.Writer) error {
	h, err := extract.Revisions(ctx, couch, database, g.doc, g.attachments, out)
	if couchdb.IsStatus(err, 404) && h.Leaves == 0 {
		return exit.Errorf(exit.Refused, "database %s has no document %s in this backup, nor knows of a deleted one; look in an earlier or later backup (`kubectl cht catalog list`)", database, g.doc)
	}
	if err == nil {
		e.note("document %s: %d leaf revisions, %d earlier ones; of %d more the names alone are known, their bodies were dropped by compaction before the backup", g.doc, h.Leaves, h.Earlier, h.Gone)
	}
	return err
}

// notWhole says that what was printed before an error is not all.
func notWhole(err error) error {
	var output *extract.OutputError
	switch {
	case exit.Of(err) != exit.Usage: // it has a code of its own
		return err
	case errors.As(err, &output):
		return exit.Errorf(exit.Failed, "%w; what was printed is not whole", err)
	default:
		return exit.Errorf(exit.Failed, "read the documents: %w; what was printed is not whole", err)
	}
}

// removed deletes the pod also when nobody waits any more, and says what is left.
func (e *Env) removed(ctx context.Context, pod *extract.ThrowAway, namespace string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	if err := pod.Remove(ctx); err != nil {
		return exit.Errorf(exit.Trouble, "pod %s/%s is left, with documents of the backup: %w; delete it: kubectl delete pod -n %s %s", namespace, pod.Name(), err, namespace, pod.Name())
	}
	return nil
}

const removeWithin = 30 * time.Second

// podError explains what kept the pod from its work.
func podError(doing string, err error) error {
	if explained := exit.Explain(doing, err); exit.Of(explained) == exit.Refused || exit.Of(explained) == exit.Usage {
		return explained // the API server said it
	}
	return exit.Errorf(exit.Failed, "%s: %w; look at the events of the namespace (`kubectl get events`), or give another --image, or another namespace with -n", doing, err)
}

// cutShort explains an error by what ended the work before its end.
func cutShort(ctx, bounded context.Context, g *getting, err error) error {
	switch {
	case err == nil || exit.Of(err) == exit.Refused || exit.Of(err) == exit.Usage:
		return err
	case ctx.Err() != nil:
		return exit.Errorf(exit.Interrupted, "interrupted; what was printed is not whole")
	case bounded.Err() != nil:
		return exit.Errorf(exit.TimedOut, "--timeout %s passed: %w; what was printed is not whole", g.timeout, err)
	}
	return err
}
