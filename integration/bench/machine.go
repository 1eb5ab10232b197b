package main

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/harness"
)

// where says what was run on what: a figure without it means nothing.
func where(ctx context.Context, c *harness.Cluster, controller string, args []string, o options) string {
	var b strings.Builder
	line := func(name, format string, values ...any) { page.Line(&b, name, format, values...) }
	line("command", "%s", strings.TrimSpace("go run ./integration/bench "+strings.Join(args, " ")))
	line("settings", "nodes %v, modes %v, drivers %v, %d backups of each kind, maxStall %s, %g writes/s, %d at a time, %d documents, %d users",
		o.nodes, o.modes, o.drivers, o.backups, o.maxStall, o.rate, o.workers, o.docs, o.users)
	line("began", "%s", time.Now().Format(time.RFC3339))
	page.Machine(&b)
	kubernetes := "?"
	if v, err := c.Kube.Discovery().ServerVersion(); err == nil {
		kubernetes = v.GitVersion
	}
	cluster := "the cluster of E2E_KUBECONFIG"
	if c.Local {
		cluster = "the testbed"
	}
	line("versions", "Kubernetes %s (%s), %s, source %s", kubernetes, cluster, runtime.Version(), page.Revision(ctx))
	line("images", "controller %s, CouchDB %s", controller, c.Images.CouchDB)
	return b.String()
}
