package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// CausalOptions say how many pairs are written.
type CausalOptions struct {
	Workers int
	Rate    float64 // pairs a second
	Count   int64   // 0: until ctx ends
	DB      string
	Prefix  string
}

// Causal writes pairs: a document to a shard on one node, through that node, and
// after its acknowledgement one to a shard on another node, through that one. A
// copy with the second and without the first is no point in time.
func Causal(ctx context.Context, servers map[string]*couch.Client, o CausalOptions, out io.Writer) error {
	if len(servers) < 2 {
		return fmt.Errorf("causal pairs need two nodes, there are %d", len(servers))
	}
	var anyone *couch.Client
	var hosts []string
	for host, c := range servers {
		hosts, anyone = append(hosts, host), c
	}
	ids := newIDs(hosts, 64)
	find, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- ids.find(find, anyone, o.DB, o.Prefix) }()
	for _, host := range hosts {
		if err := ids.wait(find, host, failed); err != nil {
			return err
		}
	}
	p := newPrinter(out)
	p.print(Line{Kind: KindStart})
	var skipped atomic.Int64
	due := ticks(ctx, o.Rate, o.Count, o.Workers, &skipped)
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for seq := range due {
				a, b := pairOf(hosts, seq)
				idA, okA := ids.take(find, a)
				idB, okB := ids.take(find, b)
				if !okA || !okB {
					return
				}
				pair := writePair(context.WithoutCancel(ctx), seq, o.DB, servers, [2]string{a, b}, [2]string{idA, idB})
				p.print(Line{Kind: KindPair, Pair: &pair})
			}
		})
	}
	workers.Wait()
	return p.end(skipped.Load())
}

// pairOf rotates over all ordered pairs of different hosts.
func pairOf(hosts []string, seq int64) (a, b string) {
	n := int64(len(hosts))
	k := seq % (n * (n - 1))
	from, step := k/(n-1), k%(n-1)+1
	return hosts[from], hosts[(from+step)%n]
}

func writePair(ctx context.Context, seq int64, db string, servers map[string]*couch.Client, hosts, ids [2]string) Pair {
	pair := Pair{Seq: seq, A: Write{Seq: seq, Node: hosts[0], DB: db, ID: ids[0]}}
	send(ctx, servers[hosts[0]], &pair.A, map[string]any{"type": "causal_a", "seq": seq})
	if pair.A.Acknowledged() {
		pair.B = &Write{Seq: seq, Node: hosts[1], DB: db, ID: ids[1]}
		send(ctx, servers[hosts[1]], pair.B, map[string]any{"type": "causal_b", "seq": seq, "after": ids[0]})
	}
	return pair
}

// ids are document ids in stock for each host. They are found ahead of time: the
// search must not stand still, or hold the pairs up, while disks are frozen.
type idStock struct{ of map[string]chan string }

func newIDs(hosts []string, stock int) *idStock {
	s := &idStock{of: map[string]chan string{}}
	for _, h := range hosts {
		s.of[h] = make(chan string, stock)
	}
	return s
}

// find asks for the shard of one id after the other, until ctx ends.
func (s *idStock) find(ctx context.Context, c *couch.Client, db, prefix string) error {
	run := fmt.Sprintf("%s-%08x", prefix, rand.Uint32())
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-%07d", run, n)
		var shard struct{ Nodes []string }
		if err := c.Get(ctx, "/"+couch.Escape(db)+"/_shards/"+couch.Escape(id), &shard); err != nil {
			return fmt.Errorf("find the shard of %s: %w", id, err)
		}
		if len(shard.Nodes) != 1 {
			return fmt.Errorf("the shard of %s is on %v, not on one node", id, shard.Nodes)
		}
		_, host, _ := strings.Cut(shard.Nodes[0], "@")
		stock, known := s.of[host]
		if !known {
			return fmt.Errorf("the shard of %s is on %s, which is no server known here", id, host)
		}
		if !s.put(ctx, stock, id) {
			return nil
		}
	}
}

// put drops the id where its host has plenty while another lacks one.
func (s *idStock) put(ctx context.Context, stock chan string, id string) bool {
	for {
		select {
		case stock <- id:
			return true
		default:
		}
		for _, other := range s.of {
			if len(other) < cap(other) {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond): // all are full
		}
	}
}

func (s *idStock) take(ctx context.Context, host string) (string, bool) {
	select {
	case id := <-s.of[host]:
		return id, true
	case <-ctx.Done():
		return "", false
	}
}

// wait waits for half a stock, so that a shard map without one of the nodes shows
// as an error and not as silence.
func (s *idStock) wait(ctx context.Context, host string, failed <-chan error) error {
	for len(s.of[host]) < cap(s.of[host])/2 {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("no document id found whose shard is on %s: %w", host, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
