package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/integration/bench/engine"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

const (
	database = "medic"
	design   = "_design/medic-client"
	// together is how many documents a phone sends at once.
	together = 100
	writers  = 4
)

// run is one run of the benchmark.
type run struct {
	o    options
	say  io.Writer
	ways []*way
	docs *documents

	version, kind string
	cluster       *loopback.Cluster
	client        *couch.Client
	dirs          []string
	repository    *engine.Repository
	steps         []step
	levels        []level
}

// step is what happened between two backups, and what the later one costs by way.
type step struct {
	name  string
	grown int64 // by how many bytes the files grew, or shrank
	costs []cost
	// product is what it sent, compressed and sealed.
	product engine.Cost
}

func (r *run) progress(format string, values ...any) {
	_, _ = fmt.Fprintf(r.say, format+"\n", values...)
}

func (r *run) all(ctx context.Context) (err error) {
	hosts, err := loopback.Hosts(r.o.nodes)
	if err != nil {
		return err
	}
	for i := range hosts {
		r.dirs = append(r.dirs, filepath.Join(r.o.dir, strconv.Itoa(i+1)))
	}
	if r.cluster, err = loopback.Start(ctx, hosts, r.dirs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.Stop()) }()
	r.kind, r.client = r.cluster.Kind, r.cluster.Client(0, couch.Transport(writers)).Patient(time.Minute)
	if err := r.make(ctx); err != nil {
		return err
	}
	if r.repository, err = engine.Create(ctx, filepath.Join(r.o.dir, "repository"), engine.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.repository.Close()) }()
	some := r.o.some()
	percent := fmt.Sprintf("%g%%", r.o.percent)
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"first backup, of files never compacted", func(ctx context.Context) error { return r.add(ctx, r.o.docs, together) }},
		{percent + " new documents, one by one", func(ctx context.Context) error { return r.add(ctx, some, 1) }},
		{percent + " new documents, " + strconv.Itoa(together) + " at a time", func(ctx context.Context) error { return r.add(ctx, some, together) }},
		{"compaction of all", r.compact},
		{"compaction of all, nothing new", r.compact},
		{percent + " new, one by one, then compaction", func(ctx context.Context) error { return errors.Join(r.add(ctx, some, 1), r.compact(ctx)) }},
		{percent + " new, " + percent + " changed, no compaction", func(ctx context.Context) error { return errors.Join(r.add(ctx, some, together), r.change(ctx, some)) }},
		{"then compaction", r.compact},
	} {
		if err := r.step(ctx, s.name, s.do); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	r.levels, err = r.compress()
	return err
}

func (r *run) make(ctx context.Context) error {
	var about struct{ Version string }
	if err := r.client.Get(ctx, "/", &about); err != nil {
		return err
	}
	r.version = about.Version
	// Compactions are the benchmark's own steps: CouchDB is to begin none by itself.
	for i := range r.cluster.URLs {
		for _, channel := range []string{"ratio_dbs", "slack_dbs", "upgrade_dbs", "ratio_views", "slack_views", "upgrade_views"} {
			if err := r.cluster.Client(i, http.DefaultTransport).Do(ctx, http.MethodPut, "/_node/_local/_config/smoosh."+channel+"/min_size", "1000000000000", nil); err != nil {
				return err
			}
		}
	}
	if err := r.client.CreateDB(ctx, database); err != nil {
		return err
	}
	_, err := r.client.Put(ctx, database, design, map[string]any{"language": "javascript", "views": map[string]any{
		"by_type":    map[string]any{"map": "function (doc) { if (doc.type) { emit([doc.type, doc.form], doc.reported_date); } }", "reduce": "_count"},
		"by_patient": map[string]any{"map": "function (doc) { if (doc.fields) { emit(doc.fields.patient_uuid, null); } }"},
		"by_parent":  map[string]any{"map": "function (doc) { var p = doc.contact || doc.parent; while (p) { emit([p._id, doc.type], null); p = p.parent; } }"},
	}})
	return err
}

// step does what comes before a backup, and counts the backup's cost by each way.
func (r *run) step(ctx context.Context, name string, do func(context.Context) error) error {
	began := time.Now()
	if err := do(ctx); err != nil {
		return err
	}
	// The index is asked for, as it would be in use.
	if err := r.client.Get(ctx, "/"+database+"/"+design+"/_view/by_patient?limit=1", nil); err != nil {
		return err
	}
	done := time.Now()
	files, err := copied(r.dirs)
	if err != nil {
		return err
	}
	s := step{name: name, costs: make([]cost, len(r.ways))}
	work := errgroup.Group{}
	work.SetLimit(2)
	for i, w := range r.ways {
		work.Go(func() (err error) {
			s.costs[i], err = w.backup(files)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	if s.product, err = r.repository.Backup(ctx, data(r.dirs)); err != nil {
		return err
	}
	if n := len(r.steps); n > 0 {
		s.grown = s.costs[0].bytes - r.steps[n-1].costs[0].bytes
	}
	r.steps = append(r.steps, s)
	r.progress("%s: %d files, %s, done in %s, counted in %s", name, len(files), mib(s.costs[0].bytes), done.Sub(began).Round(time.Second), time.Since(done).Round(time.Second))
	return nil
}

func data(dirs []string) (all []string) {
	for _, dir := range dirs {
		all = append(all, filepath.Join(dir, "data"))
	}
	return all
}

// add writes new documents, so many at a time.
func (r *run) add(ctx context.Context, n, atOnce int) error {
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(writers)
	for n > 0 {
		batch := make([]map[string]any, min(n, atOnce))
		for i := range batch {
			batch[i] = r.docs.one()
		}
		n -= len(batch)
		work.Go(func() error {
			if atOnce == 1 {
				_, err := r.client.Put(within, database, batch[0]["_id"].(string), batch[0])
				return err
			}
			return r.bulk(within, batch)
		})
	}
	return work.Wait()
}

func (r *run) bulk(ctx context.Context, batch []map[string]any) error {
	var answers []struct{ ID, Error, Reason string }
	if err := r.client.Do(ctx, http.MethodPost, "/"+database+"/_bulk_docs", map[string]any{"docs": batch}, &answers); err != nil {
		return err
	}
	for _, a := range answers {
		if a.Error != "" {
			return fmt.Errorf("write %s: %s: %s", a.ID, a.Error, a.Reason)
		}
	}
	return nil
}

// change writes n documents anew that are there, spread over all.
func (r *run) change(ctx context.Context, n int) error {
	var all struct {
		Rows []struct{ Doc map[string]any }
	}
	// Ids are random: the first ones are of all ages.
	if err := r.client.Get(ctx, fmt.Sprintf("/%s/_all_docs?include_docs=true&limit=%d", database, n+1), &all); err != nil {
		return err
	}
	var batch []map[string]any
	for _, row := range all.Rows {
		if id, _ := row.Doc["_id"].(string); strings.HasPrefix(id, "_") {
			continue
		}
		row.Doc["edited"] = true
		if batch = append(batch, row.Doc); len(batch) == together {
			if err := r.bulk(ctx, batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	return r.bulk(ctx, batch)
}

// compact compacts all databases and the view, and waits until it is done.
func (r *run) compact(ctx context.Context) error {
	var all []string
	if err := r.client.Get(ctx, "/_all_dbs", &all); err != nil {
		return err
	}
	for _, db := range all {
		if err := r.client.Do(ctx, http.MethodPost, "/"+couch.Escape(db)+"/_compact", struct{}{}, nil); err != nil {
			return err
		}
	}
	if err := r.client.Do(ctx, http.MethodPost, "/"+database+"/_compact/"+strings.TrimPrefix(design, "_design/"), struct{}{}, nil); err != nil {
		return err
	}
	for quiet := 0; quiet < 3; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second): // CouchDB tells nobody that it is done
		}
		running, err := r.compacting(ctx)
		if err != nil {
			return err
		}
		if quiet++; running {
			quiet = 0
		}
	}
	return nil
}

func (r *run) compacting(ctx context.Context) (bool, error) {
	var tasks []struct{ Type string }
	if err := r.client.Get(ctx, "/_active_tasks", &tasks); err != nil {
		return false, err
	}
	for _, t := range tasks {
		if strings.Contains(t.Type, "compaction") {
			return true, nil
		}
	}
	var db struct {
		Running bool `json:"compact_running"`
	}
	err := r.client.Get(ctx, "/"+database, &db)
	return db.Running, err
}
