package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/survey"
)

// Backup is one backup to be taken.
type Backup struct {
	Bucket *bucket.Bucket
	// Repository of the instance in the bucket.
	Repository *repo.Repository
	// Namespace and Name that its record gets, and Host, the machine's name.
	Namespace, Name, Host string
	// Program is the version of this program.
	Program    string
	Recipients []string
	Guard      pause.Guard
	// MaxStall bounds the pause; pause.Bound is the most.
	MaxStall time.Duration
	// Say is told what is done, in a line; nil for nobody.
	Say func(format string, args ...any)
}

// Done is a backup that was taken.
type Done struct {
	Record   catalog.Record
	Manifest bucket.Manifest
	// Stall is when CouchDB was held.
	Stall pause.Stall
	Sent  int64
}

// Take takes the backup. Nothing of it is in the catalog before all of it is.
func (b Backup) Take(ctx context.Context, i Instance) (d Done, err error) {
	if b.Say == nil {
		b.Say = func(string, ...any) {}
	}
	couch, err := survey.Join(ctx, i.Asked())
	if err != nil {
		return d, err
	}
	before, infos, err := couch.Take(ctx)
	if err != nil {
		return d, err
	}
	documents, _ := survey.Amount(infos)
	b.Say("CouchDB %s, %d nodes, %d databases, %d documents", couch.Version, len(i.Nodes), len(before.ShardMaps), *documents)
	uid := uuid.NewUUID()
	session, err := b.begin(ctx, i, uid)
	if err != nil {
		return d, err
	}
	// The end of the session lets what was put be used, or collected, by others.
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	nodes, err := open(i)
	if err != nil {
		return d, err
	}
	defer closeAll(nodes)
	made, err := makeCut(ctx, b.Guard, i, nodes, b.MaxStall)
	if err != nil {
		return d, err
	}
	d.Stall = made.stall
	b.Say("cut %s: CouchDB was held for %d ms", made.stall.Held.UTC().Format(time.RFC3339), d.Stall.Length().Milliseconds())
	after, _, err := couch.Take(ctx)
	if err != nil {
		return d, err
	}
	copied, err := b.copy(ctx, i, nodes, made, session)
	if err != nil {
		return d, err
	}
	d.Sent = session.Sent()
	d.Record = catalog.Record{
		Format: catalog.FormatVersion, Namespace: b.Namespace, Name: b.Name, UID: uid, CutTime: made.stall.Held.UTC().Truncate(time.Microsecond),
		Consistency: api.Consistent, CouchDB: couch.Version, Before: before, After: after, Images: i.Images,
		Compose: &catalog.Compose{Project: i.Project.Name, Dir: i.Project.Dir, Host: b.Host},
	}
	for k, n := range i.Nodes {
		d.Record.Nodes = append(d.Record.Nodes, volume(n, couch.Names[k], copied[k]))
		d.Record.Compose.Nodes = append(d.Record.Compose.Nodes, catalog.ComposeNode{Node: n.Service, Service: n.Compose, Data: n.HostData, Config: n.HostConfig})
	}
	if d.Record.Objects, d.Record.Compose.Files, err = files(b.Namespace, i); err != nil {
		return d, err
	}
	if err := d.Record.Check(); err != nil {
		return d, fmt.Errorf("the record: %w", err)
	}
	d.Manifest, err = b.Bucket.Put(ctx, d.Record, bucket.Writer{Cluster: b.Host, Program: b.Program, Recipients: b.Recipients})
	return d, err
}

// Asked is what is asked of CouchDB, and where.
func (i Instance) Asked() survey.Instance {
	asked := survey.Instance{User: i.User, Password: i.Password, Credentials: "the project's .env", Members: "the containers of project " + i.Project.Name}
	for _, n := range i.Nodes {
		asked.Nodes = append(asked.Nodes, survey.Node{Service: n.Compose, URL: n.URL, Transport: transport(n.PID)})
	}
	return asked
}

// begin opens a session that knows what the newest backup of each node sent.
func (b Backup) begin(ctx context.Context, i Instance, uid types.UID) (*repo.Session, error) {
	trees, err := b.Repository.Trees(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]string{}
	for _, t := range trees { // in the order of their times
		newest[t.Node] = t.Name
	}
	var nodes, bases []string
	for _, n := range i.Nodes {
		nodes = append(nodes, n.Service)
		if base := newest[n.Service]; base != "" {
			bases = append(bases, base)
		}
	}
	return b.Repository.Begin(ctx, string(uid), nodes, bases)
}

// copy sends the nodes' files, all at once, and gives where they are.
func (b Backup) copy(ctx context.Context, i Instance, nodes []*node.Node, made cut, session *repo.Session) ([]Copied, error) {
	copied := make([]Copied, len(nodes))
	group, within := errgroup.WithContext(ctx)
	for k, n := range nodes {
		group.Go(func() error {
			source, err := n.Source(made.measured[k].Cut, b.Repository.HashKey())
			if err != nil {
				return fmt.Errorf("%s: %w", i.Nodes[k].Compose, err)
			}
			files, name, err := transfer.Backup(within, source, session, i.Nodes[k].Service, transfer.Options{})
			if err != nil {
				return err
			}
			copied[k] = Copied{Repository: b.Repository.ID(), Tree: name, Files: files, Sent: session.Sent()}
			b.Say("%s: %d files, %d bytes", i.Nodes[k].Compose, len(files.Files), files.Size())
			for _, view := range files.Dropped {
				b.Say("%s: %s was left out, since CouchDB cut it short meanwhile; it builds it anew", i.Nodes[k].Compose, view)
			}
			if left := made.measured[k].Left; left.Count > 0 {
				b.Say("%s: %d files or folders are not CouchDB's and are not copied: %v", i.Nodes[k].Compose, left.Count, left.Names)
			}
			return nil
		})
	}
	return copied, group.Wait()
}

// Host is the machine's name, for records.
func Host() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "compose"
	}
	return name
}
