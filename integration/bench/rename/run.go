package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/restore"
	"github.com/medic/cht-backup/restore/prepare"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// makers make databases at a time.
const makers = 8

// run is one run of the benchmark.
type run struct {
	o   options
	say io.Writer

	version string
	kind    string   // of the nodes, in words
	old     []string // hosts of before, new ones of after the restart
	new     []string
	dirs    []string
	maps    map[string]couchdb.ShardMap // of before
	names   map[string]string           // of the nodes, old to new
	cluster *loopback.Cluster

	before, product, after turn
	shards                 int
}

func (r *run) progress(format string, values ...any) {
	_, _ = fmt.Fprintf(r.say, format+"\n", values...)
}

func name(i int) string { return fmt.Sprintf("medic-user-%05d-meta", i) }

// list names databases: the product's are the first ones, the known way's the last.
func (r *run) list(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, name(i))
	}
	return all
}

func (r *run) all(ctx context.Context) (err error) {
	hosts, err := loopback.Hosts(2 * nodes)
	if err != nil {
		return err
	}
	r.old, r.new = hosts[:nodes], hosts[nodes:]
	for i := range nodes {
		r.dirs = append(r.dirs, filepath.Join(r.o.dir, strconv.Itoa(i+1)))
	}
	defer func() {
		if r.cluster != nil {
			err = errors.Join(err, r.cluster.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{r.make, r.move, r.measure, r.check} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// make makes the databases, a document in each, and notes their maps.
func (r *run) make(ctx context.Context) (err error) {
	if r.cluster, err = loopback.Start(ctx, r.old, r.dirs); err != nil {
		return err
	}
	total, began := r.o.databases+r.o.known, time.Now()
	r.progress("making %d databases of 12 shards on %d nodes", total, nodes)
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(makers)
	transport := transport()
	for i := range total {
		work.Go(func() error {
			c := r.cluster.Client(i%nodes, transport)
			if err := c.CreateDB(within, name(i)); err != nil {
				return fmt.Errorf("make %s: %w", name(i), err)
			}
			_, err := c.Put(within, name(i), "one", map[string]int{"n": i})
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	first := r.clients()[0]
	r.kind = r.cluster.Kind
	if r.version, err = first.Version(ctx); err != nil {
		return err
	}
	if r.maps, err = first.ShardMaps(ctx, "_local"); err != nil {
		return err
	}
	r.progress("made in %s", time.Since(began).Round(time.Second))
	return nil
}

// move starts the nodes anew under other names, prepared as a restore does it.
func (r *run) move(ctx context.Context) (err error) {
	if err := r.cluster.Stop(); err != nil {
		return err
	}
	for i, dir := range r.dirs {
		result, err := prepare.Volume(prepare.Options{Data: filepath.Join(dir, "data"), Config: filepath.Join(dir, "etc/local.d"), Cluster: true})
		if err != nil {
			return err
		}
		r.progress("volume %d: %d shard files, removed %v", i+1, result.Shards, result.Removed)
	}
	if r.cluster, err = loopback.Start(ctx, r.new, r.dirs); err != nil {
		return err
	}
	r.names = map[string]string{}
	for i := range nodes {
		r.names["couchdb@"+r.old[i]] = "couchdb@" + r.new[i]
	}
	// What is measured below has to make them appear.
	counts, err := r.clients()[0].Counts(ctx, r.list(0, r.o.databases+r.o.known))
	if err == nil && len(counts) > 0 {
		err = fmt.Errorf("%d databases are there before their maps are written", len(counts))
	}
	return err
}

// measure takes the turns.
func (r *run) measure(ctx context.Context) (err error) {
	from, to := r.o.databases, r.o.databases+r.o.known
	half := from + r.o.known/2
	// The known way starts from maps that name the old nodes.
	var old []couchdb.ShardMap
	ranges := map[string]map[string][]string{}
	for _, db := range r.list(from, to) {
		m := r.maps[db]
		m.Rev = ""
		old, ranges[db] = append(old, m), m.ByNode
	}
	if err := r.clients()[0].PutShardMaps(ctx, old); err != nil {
		return err
	}
	one := r.cluster.Client(0, transport())
	r.progress("the known way: %d databases", half-from)
	if r.before, err = known(ctx, one, r.list(from, half), ranges, r.names); err != nil {
		return err
	}
	r.progress("the product: %d databases", r.o.databases)
	if err := r.rename(ctx); err != nil {
		return err
	}
	r.progress("the known way: %d databases", to-half)
	r.after, err = known(ctx, one, r.list(half, to), ranges, r.names)
	return err
}

// rename is the product's turn.
func (r *run) rename(ctx context.Context) error {
	record := catalog.Record{Before: catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{}}}
	cluster := verify.Cluster{Clients: r.clients()}
	for i := range nodes {
		service := fmt.Sprintf("couchdb-%d", i+1)
		record.Nodes = append(record.Nodes, catalog.Node{Service: service, ErlangName: "couchdb@" + r.old[i]})
		cluster.Names, cluster.Services = append(cluster.Names, "couchdb@"+r.new[i]), append(cluster.Services, service)
	}
	for _, db := range r.list(0, r.o.databases) {
		record.Before.ShardMaps[db] = r.maps[db]
	}
	record.After = record.Before
	began := time.Now()
	databases, shards, err := restore.RenameDatabases(ctx, cluster, record)
	r.product, r.shards = turn{databases: databases, took: time.Since(began)}, shards
	return err
}

// check holds every database against what was made.
func (r *run) check(ctx context.Context) error {
	all := r.list(0, r.o.databases+r.o.known)
	if r.product.databases != r.o.databases {
		return fmt.Errorf("the product renamed %d databases of %d", r.product.databases, r.o.databases)
	}
	for i, c := range r.clients() {
		if err := r.everywhere(ctx, i, all); err != nil {
			return err
		}
		counts, err := c.Counts(ctx, all)
		if err != nil {
			return err
		}
		for _, db := range all {
			if counts[db].Documents != 1 {
				return fmt.Errorf("database %s has %d documents through node %d, and had 1", db, counts[db].Documents, i+1)
			}
		}
	}
	r.progress("checked: %d databases, their maps and their documents, through each of %d nodes", len(all), nodes)
	return nil
}

// everywhere waits until a node has the right map of each: the known way does not
// wait for the others.
func (r *run) everywhere(ctx context.Context, node int, databases []string) error {
	for tries := 0; ; tries++ {
		there, err := r.clients()[0].ShardMaps(ctx, "couchdb@"+r.new[node])
		if err != nil {
			return err
		}
		wrong := slices.DeleteFunc(slices.Clone(databases), func(db string) bool {
			want, err := r.maps[db].Renamed(r.names)
			return err == nil && there[db].SamePlaces(want)
		})
		if len(wrong) == 0 {
			return nil
		}
		if tries == 50 {
			return fmt.Errorf("node %d has no or another map of %s and %d more", node+1, wrong[0], len(wrong)-1)
		}
		time.Sleep(100 * time.Millisecond) // CouchDB tells nobody when it has synchronised
	}
}

func (r *run) clients() []*couchdb.Client {
	var all []*couchdb.Client
	transport := transport()
	for _, url := range r.cluster.URLs {
		all = append(all, couchdb.New(url, r.cluster.User, r.cluster.Password, transport))
	}
	return all
}

// transport keeps a connection for each that works at a time.
func transport() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: makers} }
