package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/node"
)

const (
	readyLimit = 100 * time.Second // the script's 20 tries of 5 s
	readyPause = 250 * time.Millisecond
	askLimit   = 5 * time.Second
)

func base(set node.Settings, host string) string {
	return "http://" + net.JoinHostPort(host, strconv.Itoa(set.HTTPPort))
}

func request(method, url string, body any) (out []byte, status int, err error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, 0, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, in)
	if err != nil {
		return nil, 0, err
	}
	req.SetBasicAuth(os.Getenv("COUCHDB_USER"), os.Getenv("COUCHDB_PASSWORD"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to the end
	out, err = io.ReadAll(resp.Body)
	return out, resp.StatusCode, err
}

// waitReady asks until the node answers its administrator with 200.
func waitReady(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	for {
		ask, done := context.WithTimeout(ctx, askLimit)
		req, err := http.NewRequestWithContext(ask, http.MethodGet, url, nil)
		if err != nil {
			done()
			return err
		}
		req.SetBasicAuth(os.Getenv("COUCHDB_USER"), os.Getenv("COUCHDB_PASSWORD"))
		resp, err := http.DefaultClient.Do(req)
		ok := err == nil && resp.StatusCode == http.StatusOK
		if err == nil {
			resp.Body.Close() //nolint:errcheck // only its status matters
		}
		done()
		if ok {
			return nil
		}
		select {
		case <-time.After(readyPause):
		case <-ctx.Done():
			return fmt.Errorf("no CouchDB at %s within %s", url, readyLimit)
		}
	}
}

// setUp joins the peers and creates the system databases, in the background as
// the image's set-up script: what fails is logged and not repeated.
func setUp(set node.Settings) {
	peers, leader := os.Getenv("CLUSTER_PEER_IPS"), os.Getenv("COUCHDB_SYNC_ADMINS_NODE")
	if peers == "" && leader != "" {
		return // a follower: node 1 does it
	}
	host := set.Bind
	if host == "0.0.0.0" {
		host = "127.0.0.1"
	}
	own := base(set, host)
	if err := waitReady(own); err != nil {
		log.Print(err)
		return
	}
	if peers != "" {
		if err := joinPeers(set, own, strings.Split(peers, ",")); err != nil {
			log.Print(err)
			return
		}
	}
	for _, db := range []string{"_users", "_replicator", "_global_changes"} {
		if _, status, err := request(http.MethodPut, own+"/"+db, nil); err != nil || status >= 300 {
			log.Printf("system database %s was not created (status %d, %v), going on", db, status, err)
		}
	}
}

func joinPeers(set node.Settings, own string, peers []string) error {
	for _, peer := range peers {
		peer = strings.TrimSpace(peer)
		body, _, err := request(http.MethodGet, own+"/_membership", nil)
		if err != nil {
			return err
		}
		var m struct {
			All     []string `json:"all_nodes"`
			Cluster []string `json:"cluster_nodes"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return fmt.Errorf("read membership: %w", err)
		}
		if slices.Contains(m.Cluster, "couchdb@"+peer) || slices.Contains(m.All, "couchdb@"+peer) {
			continue
		}
		if err := waitReady(base(set, peer)); err != nil {
			return err
		}
		add := map[string]any{"action": "add_node", "host": peer, "port": set.HTTPPort, "username": os.Getenv("COUCHDB_USER"), "password": os.Getenv("COUCHDB_PASSWORD")}
		if out, status, err := request(http.MethodPost, own+"/_cluster_setup", add); err != nil || status >= 300 {
			log.Printf("add %s: status %d %s %v", peer, status, out, err)
		}
	}
	return nil
}
