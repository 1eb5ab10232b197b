package load

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// SeedOptions say how much there is before anything happens.
type SeedOptions struct {
	Docs        int     // in medic
	Users       int     // each with a medic-user-<name>-meta database and an account
	UserDocs    int     // in each of these databases
	Attachments float64 // share of medic's documents that have one
	Deleted     float64 // share of medic's documents that are deleted again
	Checkpoints int     // _local documents in medic and in each user's database
	Parallel    int     // requests at a time
	Random      uint64  // the same number makes the same documents
}

// Databases that every CHT has.
var Databases = []string{"medic", "medic-sentinel", "medic-users-meta", "medic-logs", "medic-audit"}

// User is the i-th seeded account, from 0: a plain user, no admin.
func User(i int) (name, password string) {
	return fmt.Sprintf("chw%04d", i), fmt.Sprintf("Secret-of-%04d!", i)
}

// UserDB is the i-th user's own database.
func UserDB(i int) string {
	name, _ := User(i)
	return "medic-user-" + name + "-meta"
}

// Checkpoint is the i-th replication checkpoint's id.
func Checkpoint(i int) string { return fmt.Sprintf("_local/checkpoint-%04d", i) }

// View seeded in medic, with a row for each document that has a type.
const View = "/medic/_design/medic-client/_view/by_type"

const batch = 250 // documents in one request

// Seed fills the databases. It runs once on an empty CHT.
func Seed(ctx context.Context, c *couch.Client, o SeedOptions) error {
	for _, db := range Databases {
		if err := c.CreateDB(ctx, db); err != nil {
			return fmt.Errorf("create database %s: %w", db, err)
		}
	}
	if err := seedDesign(ctx, c); err != nil {
		return err
	}
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(max(1, o.Parallel))
	for from := 0; from < o.Docs; from += batch {
		work.Go(func() error { return seedBatch(within, c, o, from, min(batch, o.Docs-from)) })
	}
	for i := range o.Users {
		work.Go(func() error { return seedUser(within, c, o, i) })
	}
	work.Go(func() error { return checkpoints(within, c, "medic", o.Checkpoints) })
	if err := work.Wait(); err != nil {
		return err
	}
	// Builds the index, as it would be in use.
	if err := c.Get(ctx, View+"?limit=1", nil); err != nil {
		return fmt.Errorf("build view: %w", err)
	}
	return nil
}

func seedDesign(ctx context.Context, c *couch.Client) error {
	design := map[string]any{"language": "javascript", "views": map[string]any{
		"by_type": map[string]any{"map": "function (doc) { if (doc.type) { emit(doc.type, null); } }", "reduce": "_count"}}}
	if _, err := c.Put(ctx, "medic", "_design/medic-client", design); err != nil {
		return fmt.Errorf("write design document: %w", err)
	}
	return nil
}

func seedBatch(ctx context.Context, c *couch.Client, o SeedOptions, from, count int) error {
	random := rand.New(rand.NewPCG(o.Random, uint64(from)))
	docs := make([]map[string]any, count)
	for i := range docs {
		docs[i] = document(random, fmt.Sprintf("seed-%07d", from+i), o.Attachments)
	}
	answers, err := bulk(ctx, c, "medic", docs)
	if err != nil {
		return err
	}
	var gone []map[string]any
	for i, a := range answers {
		if random.Float64() < o.Deleted {
			gone = append(gone, map[string]any{"_id": docs[i]["_id"], "_rev": a.Rev, "_deleted": true})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	_, err = bulk(ctx, c, "medic", gone)
	return err
}

var types = []string{"data_record", "data_record", "data_record", "person", "clinic", "task", "task", "health_center"}

// document is 300 to some 8,000 bytes, most near 1,000; attachments are photos of
// 5 to 60 kB.
func document(r *rand.Rand, id string, attachments float64) map[string]any {
	size := min(8000, int(300*math.Exp(math.Abs(r.NormFloat64()))))
	doc := map[string]any{"_id": id, "type": types[r.IntN(len(types))], "reported_date": 1_700_000_000_000 + r.Int64N(50_000_000_000),
		"fields": map[string]any{"patient_id": r.IntN(100000), "note": filling(r, size)}}
	if r.Float64() < attachments {
		doc["_attachments"] = map[string]any{"photo.bin": map[string]any{"content_type": "application/octet-stream",
			"data": base64.StdEncoding.EncodeToString([]byte(filling(r, 5000+r.IntN(55000))))}}
	}
	return doc
}

func seedUser(ctx context.Context, c *couch.Client, o SeedOptions, i int) error {
	name, password := User(i)
	db := UserDB(i)
	if err := c.CreateDB(ctx, db); err != nil {
		return fmt.Errorf("create database %s: %w", db, err)
	}
	account := map[string]any{"name": name, "password": password, "roles": []string{"chw"}, "type": "user"}
	if _, err := c.Put(ctx, "_users", "org.couchdb.user:"+name, account); err != nil {
		return fmt.Errorf("create user %s: %w", name, err)
	}
	random := rand.New(rand.NewPCG(o.Random+1, uint64(i)))
	docs := make([]map[string]any, o.UserDocs)
	for n := range docs {
		docs[n] = map[string]any{"_id": fmt.Sprintf("read:report:%s-%05d", name, n), "type": "feedback", "note": filling(random, 100+random.IntN(400))}
	}
	if _, err := bulk(ctx, c, db, docs); err != nil {
		return err
	}
	return checkpoints(ctx, c, db, o.Checkpoints)
}

func checkpoints(ctx context.Context, c *couch.Client, db string, count int) error {
	for i := range count {
		if _, err := c.Put(ctx, db, Checkpoint(i), map[string]any{"last_seq": i, "session_id": fmt.Sprintf("%s-%d", db, i)}); err != nil {
			return fmt.Errorf("write %s/%s: %w", db, Checkpoint(i), err)
		}
	}
	return nil
}

type bulkAnswer struct{ ID, Rev, Error, Reason string }

func bulk(ctx context.Context, c *couch.Client, db string, docs []map[string]any) ([]bulkAnswer, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	var answers []bulkAnswer
	if err := c.Do(ctx, http.MethodPost, "/"+couch.Escape(db)+"/_bulk_docs", map[string]any{"docs": docs}, &answers); err != nil {
		return nil, fmt.Errorf("write %d documents to %s: %w", len(docs), db, err)
	}
	if len(answers) != len(docs) {
		return nil, fmt.Errorf("write %d documents to %s: %d answers", len(docs), db, len(answers))
	}
	for _, a := range answers {
		if a.Error != "" || a.Rev == "" {
			return nil, fmt.Errorf("write %s/%s: %s: %s", db, a.ID, a.Error, a.Reason)
		}
	}
	return answers, nil
}
