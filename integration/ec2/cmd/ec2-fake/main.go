// Command ec2-fake serves the fake of EC2 and STS on an address, until it is told to
// end. It prints one line when it is ready: the URL to use as endpoint.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	fake "github.com/medic/cht-backup/integration/ec2"
)

func main() {
	address := flag.String("listen", "127.0.0.1:4566", "address to serve on; port 0 takes a free one")
	seed := flag.Uint64("seed", 1, "makes ids, delays and durations the same again")
	limits := flag.String("quotas", "published", "published, as AWS's defaults, or unlimited")
	flag.Parse()
	if err := run(*address, *seed, *limits); err != nil {
		fmt.Fprintln(os.Stderr, "ec2-fake:", err)
		os.Exit(1)
	}
}

func run(address string, seed uint64, limits string) error {
	o := fake.Options{Seed: seed}
	switch limits {
	case "published":
	case "unlimited":
		q := fake.Unlimited()
		o.Quotas = &q
	default:
		return fmt.Errorf("--quotas %s: published or unlimited", limits)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: fake.New(o), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("http://%s\n", l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if err := server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
