package hollow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

// documents in each database of Couch.
const documents = 200

var databases = []string{"medic", "medic-sentinel", "medic-users-meta", "medic-logs"}

const couchPort = 5984

// Couch is one stand-in for CouchDB that answers on the addresses of many pods.
type Couch struct {
	User, Password string

	cluster   *loopback.Cluster
	listeners []net.Listener
}

// StartCouch starts one, with some documents, that keeps its files in dir. On an error
// nothing is left running.
func StartCouch(ctx context.Context, dir string, addresses []string) (_ *Couch, err error) {
	hosts, err := loopback.Hosts(1)
	if err != nil {
		return nil, err
	}
	cluster, err := loopback.Start(ctx, hosts, []string{dir})
	if err != nil {
		return nil, err
	}
	c := &Couch{User: cluster.User, Password: cluster.Password, cluster: cluster}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := c.fill(ctx); err != nil {
		return nil, err
	}
	to := net.JoinHostPort(cluster.Hosts[0], strconv.Itoa(couchPort))
	for _, address := range addresses {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(couchPort)))
		if err != nil {
			return nil, err
		}
		c.listeners = append(c.listeners, l)
		go forward(l, to)
	}
	return c, nil
}

func (c *Couch) fill(ctx context.Context) error {
	to := c.cluster.Client(0, http.DefaultTransport)
	var docs []any
	for i := range documents {
		docs = append(docs, map[string]any{"_id": fmt.Sprintf("document-%d", i), "type": "data_record", "fields": map[string]any{"number": i}})
	}
	for _, name := range databases {
		if err := to.CreateDB(ctx, name); err != nil {
			return fmt.Errorf("make database %s: %w", name, err)
		}
		if err := to.Do(ctx, http.MethodPost, "/"+name+"/_bulk_docs", map[string]any{"docs": docs}, nil); err != nil {
			return fmt.Errorf("fill database %s: %w", name, err)
		}
	}
	return nil
}

// Stop ends it.
func (c *Couch) Stop() (err error) {
	for _, l := range c.listeners {
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, c.cluster.Stop())
}
