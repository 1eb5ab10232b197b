package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Files is what a copier serves: *node.Node.
type Files interface {
	Prepare(ctx context.Context) (node.Survey, error)
	Measure(ctx context.Context) (node.Measured, error)
	State() node.State
	Source(cut string, key tree.HashKey) (transfer.Source, error)
	Close() error
}

// ServeCopier serves a node's files until they are let go.
func ServeCopier(ctx context.Context, files Files, o ServeOptions) error {
	s, err := newServer(o)
	if err != nil {
		return err
	}
	return s.run(ctx, o, (&copierServer{s, files}).handler())
}

type copierServer struct {
	*server
	files Files
}

func (c *copierServer) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/state", call(func(*http.Request) (node.State, error) { return c.files.State(), nil }))
	m.HandleFunc("POST /v1/prepare", call(func(r *http.Request) (node.Survey, error) { return c.files.Prepare(r.Context()) }))
	m.HandleFunc("POST /v1/measure", call(c.measure))
	m.HandleFunc("GET /v1/cuts/{cut}/files", call(c.list))
	m.HandleFunc("POST /v1/cuts/{cut}/files/{file}/match", call(c.match))
	m.HandleFunc("GET /v1/cuts/{cut}/files/{file}", c.read)
	m.HandleFunc("POST /v1/close", call(func(*http.Request) (struct{}, error) {
		defer c.finish()
		return struct{}{}, c.files.Close()
	}))
	return m
}

// measure gives up when the caller does: nodes are held still meanwhile.
func (c *copierServer) measure(r *http.Request) (node.Measured, error) {
	within, err := strconv.ParseInt(r.Header.Get(deadlineHeader), 10, 64)
	if err != nil || within < 1 {
		return node.Measured{}, errors.New("the request does not say how long it may take")
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), time.Duration(within)*time.Millisecond, fmt.Errorf("it was not measured within %d ms", within))
	defer cancel()
	return c.files.Measure(ctx)
}

func (c *copierServer) source(r *http.Request) (transfer.Source, error) {
	key, err := parseKey(r.Header.Get(keyHeader))
	if err != nil {
		return nil, err
	}
	return c.files.Source(r.PathValue("cut"), key)
}

func (c *copierServer) list(r *http.Request) ([]tree.Meta, error) {
	s, err := c.source(r)
	if err != nil {
		return nil, err
	}
	return s.Files(r.Context())
}

func (c *copierServer) match(r *http.Request) (int, error) {
	s, err := c.source(r)
	if err != nil {
		return 0, err
	}
	file, err := strconv.Atoi(r.PathValue("file"))
	if err != nil {
		return 0, err
	}
	body, err := bodyOf(r)
	if err != nil {
		return 0, err
	}
	known, err := readPieces(body)
	if err != nil {
		return 0, err
	}
	if err := c.transfers.Acquire(r.Context(), 1); err != nil {
		return 0, err
	}
	defer c.transfers.Release(1)
	return s.Match(r.Context(), file, known)
}

func (c *copierServer) read(w http.ResponseWriter, r *http.Request) {
	out := bufio.NewWriterSize(patient{r.Context(), w, c.idle}, 64<<10)
	err := c.readInto(out, r)
	if r.Context().Err() != nil {
		// Nobody is told: without an end the reader knows that it was cut off.
		panic(http.ErrAbortHandler)
	}
	if writeEnd(out, err) != nil || out.Flush() != nil {
		panic(http.ErrAbortHandler)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it was this answer's
}

func (c *copierServer) readInto(out *bufio.Writer, r *http.Request) error {
	s, err := c.source(r)
	if err != nil {
		return err
	}
	file, err := strconv.Atoi(r.PathValue("file"))
	if err != nil {
		return err
	}
	from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
	if err != nil {
		return err
	}
	if err := c.transfers.Acquire(r.Context(), 1); err != nil {
		return err
	}
	defer c.transfers.Release(1)
	return s.Read(r.Context(), file, from, func(f transfer.Frame) error { return writeFrame(out, f) })
}
