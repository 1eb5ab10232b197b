package loopback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// The environment that names another CouchDB than the stand-in; package contract
// takes the same.
const (
	urlsKey     = "COUCHDB_URLS"
	userKey     = "COUCHDB_USER"
	passwordKey = "COUCHDB_PASSWORD"
	launchKey   = "COUCHDB_LAUNCH"
	hostsKey    = "COUCHDB_LAUNCH_HOSTS"
)

// patience bounds the wait for a cluster that starts.
const patience = 2 * time.Minute

// Cluster is a CouchDB, ready for use.
type Cluster struct {
	URLs           []string
	User, Password string
	// Kind is what the nodes are, in words.
	Kind string
	// Hosts and Dirs of the nodes that were started here.
	Hosts, Dirs []string
	stops       []func() error
}

// Given is the running cluster that COUCHDB_URLS names, nil if it names none.
func Given() *Cluster {
	list := os.Getenv(urlsKey)
	if list == "" {
		return nil
	}
	c := credentials()
	c.Kind = "the cluster of " + urlsKey
	for url := range strings.SplitSeq(list, ",") {
		c.URLs = append(c.URLs, strings.TrimRight(strings.TrimSpace(url), "/"))
	}
	return c
}

func credentials() *Cluster {
	c := &Cluster{User: os.Getenv(userKey), Password: os.Getenv(passwordKey)}
	if c.User == "" {
		c.User = "medic"
	}
	if c.Password == "" {
		c.Password = "pass;word"
	}
	return c
}

// Hosts gives n addresses for nodes.
func Hosts(n int) ([]string, error) {
	if list := os.Getenv(hostsKey); os.Getenv(launchKey) != "" && list != "" {
		all := strings.Split(list, ",")
		if len(all) < n {
			return nil, fmt.Errorf("%s names %d hosts, %d are needed", hostsKey, len(all), n)
		}
		return all[:n], nil
	}
	var all []string
	for i := range n { // by pid, so that two programs on one machine do not meet
		all = append(all, fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()>>8%64, os.Getpid()%256, i+1))
	}
	return all, nil
}

// Start starts a node for each host and waits until they are one cluster with its
// system databases. On an error nothing is left running.
func Start(ctx context.Context, hosts, dirs []string) (*Cluster, error) {
	c := credentials()
	c.Kind, c.Hosts, c.Dirs = "stand-ins on this machine", hosts, dirs
	if os.Getenv(launchKey) != "" {
		c.Kind = "on this machine, started by " + launchKey
	}
	for _, host := range hosts {
		c.URLs = append(c.URLs, "http://"+host+":5984")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex
	var failed error
	var starting sync.WaitGroup
	for i := range hosts { // at once: a follower waits for the first
		starting.Go(func() {
			stop, err := c.start(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			if failed = errors.Join(failed, err); stop != nil {
				c.stops = append(c.stops, stop)
			}
		})
	}
	starting.Wait()
	if failed == nil {
		failed = c.wait(ctx)
	}
	if failed != nil {
		return nil, errors.Join(failed, c.Stop())
	}
	return c, nil
}

// Stop ends the nodes that were started here, as a lost machine would.
func (c *Cluster) Stop() error {
	var err error
	for _, stop := range c.stops {
		err = errors.Join(err, stop())
	}
	c.stops = nil
	return err
}

// wait asks until every node knows every other and has the system databases.
func (c *Cluster) wait(ctx context.Context) error {
	var want []string
	for _, host := range c.Hosts {
		want = append(want, "couchdb@"+host)
	}
	slices.Sort(want)
	for {
		err := c.look(ctx, want)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the CouchDB nodes in %s did not become a cluster: %w", strings.Join(c.Dirs, ", "), err)
		case <-time.After(100 * time.Millisecond): // CouchDB tells nobody when it is ready
		}
	}
}

func (c *Cluster) look(ctx context.Context, want []string) error {
	for i := range c.URLs {
		client := c.Client(i, http.DefaultTransport)
		var m struct {
			All     []string `json:"all_nodes"`
			Cluster []string `json:"cluster_nodes"`
		}
		if err := client.Get(ctx, "/_membership", &m); err != nil {
			return err
		}
		slices.Sort(m.All)
		slices.Sort(m.Cluster)
		if len(want) > 1 && (!slices.Equal(m.All, want) || !slices.Equal(m.Cluster, want)) {
			return fmt.Errorf("%s sees %v and %v, not %v", c.URLs[i], m.All, m.Cluster, want)
		}
		if err := client.Get(ctx, "/_global_changes", nil); err != nil {
			return err
		}
	}
	return nil
}

// Client talks to node i. It is not the product's.
func (c *Cluster) Client(i int, transport http.RoundTripper) *couch.Client {
	return couch.New(c.URLs[i], c.User, c.Password, transport)
}
