package freezer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// Options of one hold.
type Options struct {
	// Volume is the mount point of the claim.
	Volume string
	// Scratch is a directory on the node's disk (the pod's emptyDir), which the
	// volume is compared with.
	Scratch string
	// MaxStall bounds the freeze from its first call.
	MaxStall time.Duration
	// Watchdog is the unix socket of the watchdog container.
	Watchdog string
}

// Hold serves one stream: check, answer ready, freeze on "hold", thaw on
// "release" or for any of the reasons in the package comment. It returns when
// nothing is frozen any more.
func Hold(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	if err := checkUnshared(o.Volume, o.Scratch); err != nil {
		return refuse(out, api.ReasonSharedFileSystem, fmt.Errorf("%w; use quiesce mode Pause", err))
	}
	volume, err := OpenVolume(o.Volume)
	if err != nil {
		return refuse(out, api.ReasonQuiesceUnavailable, err)
	}
	dog, err := dialWatchdog(ctx, o.Watchdog)
	if err != nil {
		return refuse(out, api.ReasonQuiesceUnavailable, fmt.Errorf("reach the watchdog: %w", err))
	}
	defer func() { _ = dog.Close() }()
	return hold(ctx, in, out, volume, dog, o.MaxStall)
}

// dialWatchdog waits a moment for the other container, which starts at the same
// time as this one.
func dialWatchdog(ctx context.Context, socket string) (conn net.Conn, err error) {
	for began := time.Now(); time.Since(began) < watchdogWithin; {
		if conn, err = net.DialTimeout("unix", socket, time.Second); err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, err
}

// hold is Hold once the checks passed.
func hold(ctx context.Context, in io.Reader, out io.Writer, device Device, dog io.ReadWriter, maxStall time.Duration) error {
	// A first flush outside the freeze, so that the one inside is short.
	if err := device.Sync(); err != nil {
		return refuse(out, api.ReasonQuiesceUnavailable, err)
	}
	over := make(chan struct{})
	defer close(over)
	commands := lines(in, over)
	if err := say(out, protocol.Message{State: protocol.Ready}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case command := <-commands:
		if command != protocol.Hold {
			return nil // the stream ended before anything was asked for
		}
	}
	// The watchdog's deadline is a little later than ours: it is there for the
	// case that this process is not.
	answers := lines(dog, over)
	if !armed(dog, answers, maxStall+watchdogGrace) {
		return refuse(out, api.ReasonQuiesceUnavailable, errors.New("the watchdog does not answer; nothing was frozen"))
	}
	began := time.Now()
	deadline := time.NewTimer(maxStall)
	defer deadline.Stop()
	if err := device.Freeze(); err != nil {
		_, _ = fmt.Fprintln(dog, "disarm")
		return refuse(out, api.ReasonQuiesceUnavailable, err)
	}
	// From here on every way out thaws. An error in saying so is such a way.
	said := say(out, protocol.Message{State: protocol.Held, Micros: time.Since(began).Microseconds()})
	ended := protocol.Message{State: protocol.Released}
	if said == nil {
		select {
		case command := <-commands:
			if ended.Held = command == protocol.Release; !ended.Held {
				ended.Reason, ended.Text = api.ReasonQuiesceLost, "the stream ended"
			}
		case <-deadline.C:
			ended.Reason, ended.Text = api.ReasonStallExceeded, fmt.Sprintf("the deadline of %s passed", maxStall)
		case <-answers:
			ended.Reason, ended.Text = api.ReasonQuiesceLost, "the watchdog was lost"
		case <-ctx.Done():
			ended.Reason, ended.Text = api.ReasonQuiesceLost, "the freezer was told to stop"
		}
	}
	thawBegan := time.Now()
	err := device.Thaw()
	ended.Micros = time.Since(thawBegan).Microseconds()
	if err != nil {
		ended.Held, ended.Reason, ended.Text = false, api.ReasonQuiesceLost, "thaw: "+err.Error()
	}
	_, _ = fmt.Fprintln(dog, "disarm")
	return errors.Join(said, say(out, ended))
}

func armed(dog io.Writer, answers <-chan string, deadline time.Duration) bool {
	if _, err := fmt.Fprintf(dog, "arm %d\n", deadline.Milliseconds()); err != nil {
		return false
	}
	select {
	case answer := <-answers:
		return answer == "armed"
	case <-time.After(time.Second):
		return false
	}
}

// watchdogGrace is by how much the watchdog waits longer than the hold itself.
const watchdogGrace = 250 * time.Millisecond

// watchdogWithin bounds the wait for the watchdog container to listen.
const watchdogWithin = 10 * time.Second

// lines reads lines into a channel until over; at the end of input, or after an
// error, the channel yields "" for ever.
func lines(r io.Reader, over <-chan struct{}) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case c <- s.Text():
			case <-over:
				return
			}
		}
	}()
	return c
}

func say(out io.Writer, m protocol.Message) error {
	return json.NewEncoder(out).Encode(m)
}

func refuse(out io.Writer, reason string, err error) error {
	return errors.Join(err, say(out, protocol.Message{State: protocol.Error, Reason: reason, Text: err.Error()}))
}
