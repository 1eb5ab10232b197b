package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/medic/cht-backup/snapshot/bounded"
)

// Exec runs a command in the pod's container and returns when it has ended. An error of
// the command has what it wrote to its error output.
type Exec func(ctx context.Context, command []string, stdin io.Reader, stdout io.Writer) error

// Peer is a pod to connect to. It runs already.
type Peer struct {
	// Name in errors: "couchdb-2 (pod ns/name)".
	Name string
	Exec Exec
	// IP of the pod.
	IP string
}

// Commands that are run in the pods by exec, for each admission.
var (
	CopierAdmit = []string{"/cht-backup", "copier", "admit"}
	FillerAdmit = []string{"/cht-backup", "fill", "admit"}
)

// ErrLost is the error of a pod that does not answer any more, or does not know us any
// more: it has ended or was started anew, and what it held is gone; or another controller
// has taken our place.
var ErrLost = errors.New("the connection to the pod is lost")

// conversation is what the bidirectional ends of an exec stream make.
type conversation struct {
	io.Reader
	io.Writer
}

// admission has the pod admit a new identity, over an exec stream.
func admission(ctx context.Context, p Peer, command []string, own *identity) (server pin, port int, err error) {
	ctx, cancel := context.WithTimeout(ctx, admitWithin)
	defer cancel()
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := p.Exec(ctx, command, stdin, stdout)
		_ = stdout.CloseWithError(errors.Join(err, io.EOF))
		_ = stdin.Close()
		ended <- err
	}()
	server, port, err = askToBeAdmitted(conversation{output, input}, own)
	_, _ = input.Close(), output.Close()
	if err != nil {
		cancel()
		// The command says more than the end of its output.
		if said := <-ended; said != nil && !errors.Is(said, context.Canceled) {
			err = said
		}
		return pin{}, 0, fmt.Errorf("%s: be admitted to the pod: %w", p.Name, err)
	}
	return server, port, nil
}

// connection is the client of one server.
type connection struct {
	name string
	base string
	http *http.Client
}

// dial is admitted and makes a client; whether the pod can be reached a first call tells.
func dial(ctx context.Context, p Peer, command []string) (*connection, error) {
	own, err := newIdentity()
	if err != nil {
		return nil, err
	}
	server, port, err := admission(ctx, p, command, own)
	if err != nil {
		return nil, err
	}
	return &connection{
		name: p.Name,
		base: "https://" + net.JoinHostPort(p.IP, strconv.Itoa(port)) + "/v1",
		http: &http.Client{CheckRedirect: stay, Transport: &http.Transport{
			TLSClientConfig:     own.config(server.is),
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 6}}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, DisableCompression: true,
			MaxIdleConnsPerHost: 2 * mostTransfers, IdleConnTimeout: restful - 30*time.Second,
			WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		}},
	}, nil
}

// stay follows no redirect: the pod is who was admitted, and nobody that it names. Somebody
// may have put his own pod in the place of ours, and must not choose what the controller
// reaches.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// answered are the bounds of what a pod answers a call with, but for its list of files.
// Somebody may have put his own pod in the place of ours, and the controller serves others
// too.
var answered = bounded.Limits{Bytes: 1 << 20, Depth: 8, Values: 1 << 14}

func (c *connection) close() { c.http.CloseIdleConnections() }

// stalls is how long nothing may come of a request that is answered bit by bit.
const stalls = 5 * time.Minute

// do sends a request; its answer's body ends with an error when nothing comes for too
// long.
func (c *connection) do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	watch := time.AfterFunc(stalls, func() { cancel(fmt.Errorf("nothing came for %v", stalls)) })
	response, err := c.http.Do(r.WithContext(ctx)) //nolint:bodyclose // by who reads it
	if err == nil && response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		_ = response.Body.Close()
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	if err != nil {
		watch.Stop()
		err = c.lost(r.Context(), ctx, err)
		cancel(nil)
		return nil, err
	}
	response.Body = &watched{response.Body, watch, func(err error) error { return c.lost(r.Context(), ctx, err) }, sync.OnceFunc(func() { watch.Stop(); cancel(nil) })}
	return response, nil
}

// lost says of an error that is not the caller's doing that the pod is lost.
func (c *connection) lost(asked, own context.Context, err error) error {
	switch {
	case asked.Err() != nil:
		return fmt.Errorf("%s: %w", c.name, context.Cause(asked))
	case own.Err() != nil:
		err = context.Cause(own)
	}
	return fmt.Errorf("%s: %w: %w", c.name, ErrLost, err)
}

// watched is a body that something has to come of.
type watched struct {
	body  io.ReadCloser
	watch *time.Timer
	lost  func(error) error
	stop  func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.body.Read(b)
	w.watch.Reset(stalls)
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.lost(err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.stop()
	return w.body.Close()
}

// ask sends a call and reads what it gives.
func ask[T any](c *connection, r *http.Request) (value T, err error) {
	return read(c, r, answered, func(in *json.Decoder) (got reply[T], err error) {
		err = in.Decode(&got)
		return got, err
	})
}

// read sends a call and has its answer decoded, within limits.
func read[T any](c *connection, r *http.Request, limits bounded.Limits, decode func(*json.Decoder) (reply[T], error)) (value T, err error) {
	response, err := c.do(r)
	if err != nil {
		return value, err
	}
	defer func() { _ = response.Body.Close() }()
	got, err := decode(json.NewDecoder(bounded.Reader(response.Body, limits)))
	if err != nil {
		if errors.Is(err, bounded.ErrTooMuch) {
			return value, fmt.Errorf("%s: its answer is none of a pod of ours: %w", c.name, err)
		}
		if errors.Is(err, ErrLost) || r.Context().Err() != nil {
			return value, err
		}
		return value, fmt.Errorf("%s: %w: its answer was cut off: %w", c.name, ErrLost, err)
	}
	if err := got.Problem.err(); err != nil {
		return value, fmt.Errorf("%s: %w", c.name, err)
	}
	rest(response.Body)
	return got.Value, nil
}

// rest reads what follows an answer, which is nothing: only then is its connection free
// for the next request.
func rest(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 64) }

const (
	// tries is how often what can be asked again is asked.
	tries = 5
	// pause before the second time; it doubles.
	pause = 300 * time.Millisecond
)

// strangers tells that the pod does not take us for whom it has admitted: it does not
// change its mind.
func strangers(err error) bool {
	return strings.Contains(err.Error(), "remote error: tls: bad certificate")
}

// again does something until it does not lose the connection, or has done so too often
// without coming further. A stranger's certificate does not become the right one.
func again(ctx context.Context, do func() (further bool, err error)) error {
	wait := pause
	for try := 1; ; try++ {
		further, err := do()
		if err == nil || !errors.Is(err, ErrLost) || errors.Is(err, errStranger) || strangers(err) {
			return err
		}
		if further {
			try, wait = 1, pause
		}
		if try >= tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait *= 2
	}
}
