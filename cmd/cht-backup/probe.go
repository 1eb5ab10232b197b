package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

const (
	// probeTries and probePause give the network plugin time to apply its policies
	// to a pod that has just started.
	probeTries = 8
	probePause = time.Second
	dialWithin = 2 * time.Second
)

// probe returns nil when allowed can be reached and outside cannot, in the same
// try. That something cannot be reached proves nothing while nothing can.
func probe(ctx context.Context, allowed, outside string) error {
	var said string
	for range probeTries {
		inErr, outErr := dial(ctx, allowed), dial(ctx, outside)
		switch {
		case inErr == nil && outErr != nil:
			return nil
		case outErr == nil:
			said = "reached " + outside + ", which is outside the namespace"
		default:
			said = fmt.Sprintf("cannot tell: %s, which is allowed, cannot be reached either: %s", allowed, inErr)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause):
		}
	}
	return fmt.Errorf("not isolated: %s", said)
}

func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
