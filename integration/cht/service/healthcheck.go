package service

import (
	"context"
	"log"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// checkTimeout is how long the CHT's healthcheck waits for _membership.
const checkTimeout = time.Second

// Healthcheck is HAProxy's agent: to each connection it says "up" when the first
// server counts all servers as connected members, else "down". One node that does
// not answer within a second takes all of them out until the next question.
func Healthcheck(ctx context.Context, addr string, servers []string, user, password string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	first := couch.New("http://"+servers[0]+":5984", user, password, &http.Transport{DisableKeepAlives: true})
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			answer := "up\n"
			if why := unhealthy(ctx, first, len(servers)); why != "" {
				log.Printf("down: %s", why)
				answer = "down\n"
			}
			_ = conn.SetWriteDeadline(time.Now().Add(checkTimeout))
			_, _ = conn.Write([]byte(answer)) // HAProxy gave up waiting; it asks again
		}()
	}
}

func unhealthy(ctx context.Context, first *couch.Client, servers int) string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var m struct {
		All     []string `json:"all_nodes"`
		Cluster []string `json:"cluster_nodes"`
	}
	if err := first.Get(ctx, "/_membership", &m); err != nil {
		return err.Error()
	}
	slices.Sort(m.All)
	slices.Sort(m.Cluster)
	switch {
	case len(m.All) != servers:
		return "not all nodes are connected"
	case !slices.Equal(m.All, m.Cluster):
		return "not all nodes are members"
	}
	return ""
}
