package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

// run is one run of the benchmark.
type run struct {
	o         options
	say       io.Writer
	cluster   *loopback.Cluster
	transport *http.Transport

	version string
	made    bool // the databases are there
	names   []string
	have    []int // documents in each
	sizes   []size
}

// size is what was measured with so many documents.
type size struct {
	documents                      int
	fingerprint, verified, damaged answer
}

func (r *run) progress(format string, values ...any) {
	_, _ = fmt.Fprintf(r.say, format+"\n", values...)
}

func (r *run) all(ctx context.Context) (err error) {
	if r.cluster = loopback.Given(); r.cluster == nil {
		if err := r.start(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.cluster.Stop()) }()
	} else {
		defer func() { err = errors.Join(err, r.remove(context.WithoutCancel(ctx))) }()
	}
	r.transport = &http.Transport{MaxIdleConnsPerHost: 2 * seeds}
	r.have = make([]int, len(shares))
	for _, share := range shares { // by pid: a cluster that is given may have those of a CHT
		r.names = append(r.names, fmt.Sprintf("bench%d-%s", os.Getpid(), share.name))
	}
	if err := r.databases(ctx); err != nil {
		return err
	}
	for _, n := range []int{r.o.small, r.o.documents} {
		if err := r.seed(ctx, n); err != nil {
			return err
		}
		s, err := r.measure(ctx, n)
		if err != nil {
			return err
		}
		r.sizes = append(r.sizes, s)
	}
	return nil
}

func (r *run) start(ctx context.Context) error {
	hosts, err := loopback.Hosts(nodes)
	if err != nil {
		return err
	}
	var dirs []string
	for i := range nodes {
		dirs = append(dirs, filepath.Join(r.o.dir, strconv.Itoa(i+1)))
	}
	r.cluster, err = loopback.Start(ctx, hosts, dirs)
	return err
}

// remove takes the databases out of a cluster that was given.
func (r *run) remove(ctx context.Context) error {
	if !r.made {
		return nil
	}
	var err error
	for _, name := range r.names {
		err = errors.Join(err, r.cluster.Client(0, r.transport).Do(ctx, http.MethodDelete, "/"+name, nil, nil))
	}
	return err
}

// measure takes the fingerprint of n documents, verifies them, and verifies them
// again when one is another.
func (r *run) measure(ctx context.Context, n int) (s size, err error) {
	s.documents = n
	o := order{URLs: r.cluster.URLs, User: r.cluster.User, Password: r.cluster.Password, Databases: r.names, Stuck: r.o.stuck}
	product := couchdb.New(o.URLs[0], o.User, o.Password, r.transport)
	if r.version, err = product.Version(ctx); err != nil {
		return s, err
	}
	for _, url := range o.URLs {
		name, err := couchdb.New(url, o.User, o.Password, r.transport).NodeName(ctx)
		if err != nil {
			return s, err
		}
		o.Nodes = append(o.Nodes, name)
	}
	all, err := product.ShardMaps(ctx, "_local")
	if err != nil {
		return s, err
	}
	counts, err := product.Counts(ctx, r.names)
	if err != nil {
		return s, err
	}
	survey := catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{}, Counts: counts}
	for _, name := range r.names {
		survey.ShardMaps[name] = all[name]
	}
	o.Maps = slices.Collect(maps.Values(survey.ShardMaps))

	r.progress("taking the fingerprint of %d documents", n)
	o.Work = takeFingerprint
	if s.fingerprint, err = r.work(ctx, o, n); err != nil {
		return s, err
	}
	if err := r.complete(s.fingerprint.Print, n); err != nil {
		return s, err
	}
	o.Record = catalog.Record{Before: survey, After: survey, Fingerprint: s.fingerprint.Print}
	o.Work = verifyFull
	r.progress("verifying %d documents", n)
	if s.verified, err = r.work(ctx, o, n); err != nil {
		return s, err
	}
	if err := r.intact(s.verified, n); err != nil {
		return s, err
	}
	changed, document, err := r.change(ctx)
	if err != nil {
		return s, err
	}
	r.progress("verifying them again, with one document of %s changed", changed)
	if s.damaged, err = r.work(ctx, o, n); err != nil {
		return s, err
	}
	return s, found(s.damaged, changed, document)
}

// work has a piece of work done, and tells at once what it took: a run may be
// broken off before its report.
func (r *run) work(ctx context.Context, o order, n int) (answer, error) {
	a, err := child(ctx, o, r.say)
	if err == nil {
		r.progress("  took %s, %.0f documents/s, peak %.1f MB", a.Took.Round(10*time.Millisecond), float64(n)/a.Took.Seconds(), megabytes(a))
	}
	return a, err
}

// complete tells whether the fingerprint is of all that was written.
func (r *run) complete(p *fingerprint.Print, n int) error {
	of := int64(0)
	for _, name := range r.names {
		d := p.Databases[name]
		if d == nil || d.Digest == "" {
			return fmt.Errorf("there is no digest of database %s: %+v", name, d)
		}
		of += d.Documents + d.Excluded
	}
	if of != int64(n) {
		return fmt.Errorf("the fingerprint is of %d documents, %d were written", of, n)
	}
	return nil
}

// intact tells whether a verification has seen all that was written, and nothing
// wrong with it.
func (r *run) intact(a answer, n int) error {
	files := 0
	for _, have := range r.have {
		files += attachments(have)
	}
	v := a.Verification
	switch {
	case a.Refused != "":
		return fmt.Errorf("what is intact was refused: %s", a.Refused)
	case v.Streamed != int64(n):
		return fmt.Errorf("%d documents were verified, %d were written", v.Streamed, n)
	case v.Attachments != int64(files):
		return fmt.Errorf("%d attachments were verified, %d were written", v.Attachments, files)
	case int(v.Digests) != len(r.names):
		return fmt.Errorf("the digests of %d databases were the same, there are %d", v.Digests, len(r.names))
	}
	return nil
}

// change writes one document of the largest database again, and says which.
func (r *run) change(ctx context.Context) (database, document string, err error) {
	c, name := r.cluster.Client(0, r.transport), r.names[0]
	number := r.have[0] / 2
	for number%deletedOf == 1 {
		number++
	}
	var doc map[string]any
	if err := c.Get(ctx, "/"+name+"/"+id(number), &doc); err != nil {
		return name, "", fmt.Errorf("read document %s of %s: %w", id(number), name, err)
	}
	doc["note"] = "changed"
	if _, err := c.Put(ctx, name, id(number), doc); err != nil {
		return name, "", fmt.Errorf("change document %s of %s: %w", id(number), name, err)
	}
	return name, id(number), nil
}

// found tells whether a verification has found that one document of a database is
// another, and that nothing else is. By chance the document is in the sample too,
// and is named then.
func found(a answer, database, document string) error {
	p := slices.DeleteFunc(slices.Clone(a.Verification.Problems), func(problem string) bool {
		return strings.HasPrefix(problem, "database "+database+" ") && strings.Contains(problem, " of document "+document+",")
	})
	if a.Refused == "" || len(p) != 1 || !strings.Contains(p[0], "database "+database+" ") || !strings.Contains(p[0], "digest differs") {
		return fmt.Errorf("one document of %s was changed, and the verification says %q, problems %q", database, a.Refused, a.Verification.Problems)
	}
	return nil
}
