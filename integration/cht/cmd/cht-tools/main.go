// Command cht-tools stands in for the CHT's services and makes the load of the
// tests: one static binary, chosen by its first argument.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

type command struct {
	does string
	run  func(ctx context.Context, flags *flag.FlagSet, args []string) error
}

var commands = map[string]command{
	"healthcheck":     {"HAProxy's agent-check on port 5555", runHealthcheck},
	"haproxy":         {"write HAProxy's configuration from the environment, and become HAProxy", runHAProxy},
	"nginx":           {"make nginx's configuration and certificate from the environment, and become nginx", runNginx},
	"api":             {"the CHT's API on port 5988: passes on to CouchDB", runAPI},
	"sentinel":        {"follow medic and post each sms document to SMS_GATEWAY_URL", runSentinel},
	"sms-gateway":     {"count what is posted, on port 8080", runGateway},
	"upgrade-service": {"answer on port 5008", runUpgradeService},
	"nouveau":         {"answer on port 5987", runNouveau},
	"idle":            {"do nothing until stopped", runIdle},
	"stop":            {"ask process 1 of this container to end", runStop},
	"seed":            {"fill an empty CHT with documents", runSeed},
	"writer":          {"write documents and log each write", runWriter},
	"causal":          {"write pairs of documents over two nodes, the second after the first", runCausal},
	"dump":            {"print id and revision of every document", runDump},
	"get":             {"GET paths with the admin's credentials", runGet},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if len(os.Args) < 2 || commands[os.Args[1]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: cht-tools COMMAND [flags]")
		names := make([]string, 0, len(commands))
		for name := range commands {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(os.Stderr, "  %-16s %s\n", name, commands[name].does)
		}
		os.Exit(2)
	}
	name := os.Args[1]
	err := commands[name].run(ctx, flag.NewFlagSet(name, flag.ExitOnError), os.Args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "cht-tools %s: %v\n", name, err)
		os.Exit(1)
	}
}

func runIdle(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	<-ctx.Done()
	return nil
}

// runStop is run by exec beside a tool: the tool ends by itself, and its last
// lines can be read from the ended pod, which a deleted one does not allow.
func runStop(context.Context, *flag.FlagSet, []string) error {
	return syscall.Kill(1, syscall.SIGTERM)
}

// environment reads variables that must be set.
func environment(names ...string) ([]string, error) {
	var values, missing []string
	for _, name := range names {
		v := os.Getenv(name)
		if v == "" {
			missing = append(missing, name)
		}
		values = append(values, v)
	}
	if len(missing) > 0 {
		return nil, errors.New("not set: " + strings.Join(missing, ", "))
	}
	return values, nil
}

// list takes a comma list apart.
func list(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }), func(s string) bool { return s == "" })
}
