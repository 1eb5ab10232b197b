package main

import (
	"fmt"
	"io"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
)

// target is how many times faster than the known way the product is to be.
const target = 20.0

// report prints what was measured.
func (r *run) report(out io.Writer) {
	page.Line(out, "cluster", "CouchDB %s, %d nodes (%s), 12 shards a database", r.version, nodes, r.kind)
	all, best := r.before.add(r.after), r.before
	if r.after.rate() > best.rate() {
		best = r.after
	}
	_, _ = fmt.Fprintln(out, "\nNew node names for databases, on the same cluster")
	t := page.NewTable(out, "way", "databases", "requests", "took", "databases/s")
	row := func(way string, n turn, requests string) {
		t.Row(way, fmt.Sprint(n.databases), requests, n.took.Round(time.Millisecond).String(), fmt.Sprintf("%.1f", n.rate()))
	}
	row("known way, before", r.before, fmt.Sprint(r.before.requests))
	row("product", r.product, "-")
	row("known way, after", r.after, fmt.Sprint(r.after.requests))
	row("known way, both", all, fmt.Sprint(all.requests))
	t.End()
	_, _ = fmt.Fprintf(out, `
product:   the shard files of every node listed and compared (%d shards), maps written in bulk, waited for on every node
known way: GET and PUT of the map for each shard of each database, one after the other; measured on %d databases, not on %d

Targets, against the faster half of the known way
  at least %.0f times faster than one shard of one database after the other: %s
  the same, of its requests the PUTs alone: %s
`, r.shards, all.databases, r.product.databases, target, verdict(r.product.rate(), best.rate()), verdict(r.product.rate(), per(best.databases, best.writes)))
}

// verdict compares two rates.
func verdict(product, known float64) string {
	if product <= 0 || known <= 0 {
		return "?"
	}
	return fmt.Sprintf("%.1f times: %s", product/known, page.Met(product/known >= target))
}
