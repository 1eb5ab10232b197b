package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
)

// target is the CouchDB that the flags and the environment name.
type target struct {
	url, user, password string
}

func addTarget(flags *flag.FlagSet) *target {
	t := &target{}
	base, user, password, _, _ := couch.FromEnvironment(os.Getenv("COUCH_URL")) // may be unset where --url is given
	if u := os.Getenv("COUCHDB_USER"); u != "" {
		user, password = u, os.Getenv("COUCHDB_PASSWORD")
	}
	flags.StringVar(&t.url, "url", base, "`URL` of CouchDB or HAProxy; default from COUCH_URL")
	flags.StringVar(&t.user, "user", user, "user; default COUCHDB_USER")
	flags.StringVar(&t.password, "password", password, "password; default COUCHDB_PASSWORD")
	return t
}

func (t *target) client(parallel int) (*couch.Client, error) {
	if t.url == "" {
		return nil, errors.New("give --url, or set COUCH_URL")
	}
	return couch.New(t.url, t.user, t.password, couch.Transport(parallel)), nil
}

func runSeed(ctx context.Context, flags *flag.FlagSet, args []string) error {
	t, o := addTarget(flags), load.SeedOptions{}
	flags.IntVar(&o.Docs, "docs", 3000, "documents in medic")
	flags.IntVar(&o.Users, "users", 30, "users, each with a database")
	flags.IntVar(&o.UserDocs, "user-docs", 10, "documents in each user's database")
	flags.Float64Var(&o.Attachments, "attachments", 0.02, "share of documents with an attachment")
	flags.Float64Var(&o.Deleted, "deleted", 0.03, "share of documents that are deleted again")
	flags.IntVar(&o.Checkpoints, "checkpoints", 2, "_local documents in medic and in each user's database")
	flags.IntVar(&o.Parallel, "parallel", 4, "requests at a time")
	flags.Uint64Var(&o.Random, "random", 1, "the same number makes the same documents")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := t.client(o.Parallel)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := load.Seed(ctx, c.Patient(time.Minute), o); err != nil {
		return err
	}
	fmt.Printf("seeded %d documents and %d users in %s\n", o.Docs, o.Users, time.Since(start).Round(time.Millisecond))
	return nil
}

func runWriter(ctx context.Context, flags *flag.FlagSet, args []string) error {
	t, o := addTarget(flags), load.WriterOptions{}
	flags.IntVar(&o.Workers, "workers", 8, "requests at a time")
	flags.Float64Var(&o.Rate, "rate", 40, "writes a second")
	flags.Int64Var(&o.Count, "count", 0, "stop after so many; 0: no limit")
	flags.Float64Var(&o.Updates, "updates", 0.1, "share of writes that change a document again")
	flags.StringVar(&o.Type, "type", "data_record", "type of the documents; sms makes Sentinel send")
	flags.StringVar(&o.Prefix, "prefix", fmt.Sprintf("write-%d", time.Now().UnixNano()), "of the documents' ids")
	flags.IntVar(&o.Size, "size", 600, "bytes of a document's filling")
	duration := flags.Duration("duration", 0, "stop after so long; 0: no limit")
	dbs := flags.String("dbs", "medic,medic,medic", "comma list of databases; one named twice is written to twice as often")
	users := flags.Int("user-dbs", 4, "write to so many users' databases too, as many as there are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := t.client(o.Workers)
	if err != nil {
		return err
	}
	if o.Databases, err = withUserDBs(ctx, c, list(*dbs), *users); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx, *duration)
	defer cancel()
	return load.Writer(ctx, c, o, os.Stdout)
}

// withUserDBs adds databases of users, before the first write: to list them while
// a disk is frozen would stall.
func withUserDBs(ctx context.Context, c *couch.Client, dbs []string, users int) ([]string, error) {
	if users == 0 {
		return dbs, nil
	}
	var all []string
	if err := c.Get(ctx, "/_all_dbs", &all); err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	for _, db := range all {
		if users > 0 && strings.HasPrefix(db, "medic-user-") {
			dbs = append(dbs, db)
			users--
		}
	}
	return dbs, nil
}

func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}

func runCausal(ctx context.Context, flags *flag.FlagSet, args []string) error {
	t, o := addTarget(flags), load.CausalOptions{}
	servers := flags.String("servers", os.Getenv("COUCHDB_SERVERS"), "comma list of the nodes' host names; default COUCHDB_SERVERS")
	flags.IntVar(&o.Workers, "workers", 8, "pairs at a time")
	flags.Float64Var(&o.Rate, "rate", 40, "pairs a second")
	flags.Int64Var(&o.Count, "count", 0, "stop after so many; 0: no limit")
	flags.StringVar(&o.DB, "db", "medic", "database")
	flags.StringVar(&o.Prefix, "prefix", "pair", "of the documents' ids")
	duration := flags.Duration("duration", 0, "stop after so long; 0: no limit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clients := map[string]*couch.Client{}
	for _, host := range list(*servers) {
		clients[host] = couch.New("http://"+host+":5984", t.user, t.password, couch.Transport(o.Workers))
	}
	ctx, cancel := bounded(ctx, *duration)
	defer cancel()
	return load.Causal(ctx, clients, o, os.Stdout)
}

func runDump(ctx context.Context, flags *flag.FlagSet, args []string) error {
	t := addTarget(flags)
	locals := flags.String("locals", "", "comma list of _local/ ids to print where they are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := t.client(2)
	if err != nil {
		return err
	}
	return load.WriteDump(ctx, c, list(*locals), os.Stdout)
}

// runGet prints one line a path: status, a blank, and the answer.
func runGet(ctx context.Context, flags *flag.FlagSet, args []string) error {
	t := addTarget(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := t.client(2)
	if err != nil {
		return err
	}
	for _, path := range flags.Args() {
		var answer json.RawMessage
		if err := c.Get(ctx, path, &answer); err != nil {
			return fmt.Errorf("GET %s: %w", path, err)
		}
		fmt.Println(string(answer))
	}
	return nil
}
