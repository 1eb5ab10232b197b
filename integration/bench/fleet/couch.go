package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/integration/hollow"
)

// documents in each of an instance's databases.
const documents = 200

var databases = []string{"medic", "medic-sentinel", "medic-users-meta", "medic-logs"}

// address is that of the CouchDB pod of an instance: its own, on loopback.
func address(namespace string) string {
	i := number(namespace)
	return fmt.Sprintf("127.200.%d.%d", i/250, i%250+1)
}

// startCouch starts one CouchDB, and forwards to it the address of each pod.
func (f *fleet) startCouch(ctx context.Context, dir string) error {
	hosts, err := loopback.Hosts(1)
	if err != nil {
		return err
	}
	cluster, err := loopback.Start(ctx, hosts, []string{filepath.Join(dir, "couchdb")})
	if err != nil {
		return err
	}
	f.ends = append(f.ends, cluster.Stop)
	f.user, f.password = cluster.User, cluster.Password
	c := cluster.Client(0, http.DefaultTransport)
	var docs []any
	for i := range documents {
		docs = append(docs, map[string]any{"_id": fmt.Sprintf("document-%d", i), "type": "data_record", "fields": map[string]any{"number": i}})
	}
	for _, name := range databases {
		if err := c.CreateDB(ctx, name); err != nil {
			return fmt.Errorf("make database %s: %w", name, err)
		}
		if err := c.Do(ctx, http.MethodPost, "/"+name+"/_bulk_docs", map[string]any{"docs": docs}, nil); err != nil {
			return fmt.Errorf("fill database %s: %w", name, err)
		}
	}
	to := net.JoinHostPort(cluster.Hosts[0], strconv.Itoa(couchPort))
	for i := range f.o.largest() {
		l, err := net.Listen("tcp", net.JoinHostPort(address(instance(i)), strconv.Itoa(couchPort)))
		if err != nil {
			return err
		}
		f.ends = append(f.ends, l.Close)
		go hollow.Forward(l, to)
	}
	return nil
}

const couchPort = 5984
