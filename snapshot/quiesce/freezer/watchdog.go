package freezer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Guard thaws whatever an earlier life of this container left frozen, then
// waits for its end and thaws again.
func Guard(ctx context.Context, device Device) error {
	if err := Thaw(device); err != nil {
		return fmt.Errorf("thaw on start: %w", err)
	}
	<-ctx.Done()
	return Thaw(device)
}

// Thaw thaws whatever is frozen. That nothing is, is good.
func Thaw(device Device) error {
	if err := device.Thaw(); err != nil && !errors.Is(err, ErrNotFrozen) {
		return err
	}
	return nil
}

// Watch is the independent watchdog, in a container of its own so that nothing
// that kills the holding process kills it too. Each connection is one hold: it
// arms, and a lost connection or a passed deadline thaws. A watch ends with its
// connection, so none can outlive its freeze and thaw a later one.
func Watch(ctx context.Context, device Device, socket string) error {
	return watch(ctx, device, func() (net.Listener, error) {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
		if err != nil {
			return nil, fmt.Errorf("listen for holds: %w", err)
		}
		return listener, nil
	})
}

// watch is Watch on any listener. It thaws first and listens later: no hold can begin
// before what an earlier life left behind is thawed.
func watch(ctx context.Context, device Device, listen func() (net.Listener, error)) error {
	if err := Thaw(device); err != nil {
		return fmt.Errorf("thaw on start: %w", err)
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	go func() { <-ctx.Done(); _ = listener.Close() }()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return errors.Join(context.Cause(ctx), Thaw(device))
		}
		// One at a time: two holds of one volume cannot both be right.
		watchOne(conn, device)
	}
}

func watchOne(conn net.Conn, device Device) {
	defer func() { _ = conn.Close() }()
	over := make(chan struct{})
	defer close(over)
	asked := lines(conn, over)
	var millis int64
	if _, err := fmt.Sscanf(<-asked, "arm %d", &millis); err != nil {
		return // never armed: nothing can be frozen by this hold
	}
	deadline := time.NewTimer(time.Duration(millis) * time.Millisecond)
	defer deadline.Stop()
	if _, err := fmt.Fprintln(conn, "armed"); err != nil {
		return
	}
	select {
	case word := <-asked:
		if word == "disarm" {
			return
		}
	case <-deadline.C:
	}
	if err := Thaw(device); err != nil {
		fmt.Fprintln(os.Stderr, "watchdog: thaw:", err)
	}
	// The holder may still be inside its freeze call, which ends after this thaw
	// looked: keep looking until it is gone.
	for range 100 {
		select {
		case _, open := <-asked:
			if !open {
				_ = Thaw(device)
				return
			}
		case <-time.After(100 * time.Millisecond):
			_ = Thaw(device)
		}
	}
}
