package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/harness"
)

// where says what was run on what: a figure without it means nothing.
func where(ctx context.Context, c *harness.Cluster, controller string, args []string, o options) string {
	var b strings.Builder
	line := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, fmt.Sprintf(format, values...))
	}
	line("command", "%s", strings.TrimSpace("go run ./integration/bench "+strings.Join(args, " ")))
	line("settings", "nodes %v, modes %v, drivers %v, %d backups of each kind, maxStall %s, %g writes/s, %d at a time, %d documents, %d users",
		o.nodes, o.modes, o.drivers, o.backups, o.maxStall, o.rate, o.workers, o.docs, o.users)
	line("began", "%s", time.Now().Format(time.RFC3339))
	line("machine", "%d cores (%s), %s of memory, load average %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), loadAverage())
	line("system", "%s %s, Linux %s", runtime.GOOS, runtime.GOARCH, firstLine("/proc/sys/kernel/osrelease"))
	kubernetes := "?"
	if v, err := c.Kube.Discovery().ServerVersion(); err == nil {
		kubernetes = v.GitVersion
	}
	cluster := "the cluster of E2E_KUBECONFIG"
	if c.Local {
		cluster = "the testbed"
	}
	line("versions", "Kubernetes %s (%s), %s, source %s", kubernetes, cluster, runtime.Version(), revision(ctx))
	line("images", "controller %s, CouchDB %s", controller, c.Images.CouchDB)
	return b.String()
}

func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// revision is the source's commit, where it is a git work tree.
func revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "of no known commit"
	}
	return strings.TrimSpace(string(out))
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path) // what cannot be read is shown empty
	text, _, _ := strings.Cut(string(data), "\n")
	return text
}

// field is the first value of that name in a file of "name : value" lines.
func field(path, name string) string {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}
