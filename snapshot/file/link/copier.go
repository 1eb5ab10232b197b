package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Copier is a copier pod, as the controller sees it. It may be made again and again for
// the same pod: the newest is the one that the pod listens to, and what the pod has
// measured it still has.
type Copier struct{ *connection }

// DialCopier has the pod admit this process, and connects.
func DialCopier(ctx context.Context, p Peer) (*Copier, error) {
	c, err := dial(ctx, p, CopierAdmit)
	if err != nil {
		return nil, err
	}
	copier := &Copier{c}
	if _, err := copier.State(ctx); err != nil {
		copier.Close()
		return nil, err
	}
	return copier, nil
}

func (c *connection) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return r, nil
}

// Prepare has the node's files walked and opened, and what it needs checked. Again, right
// before the nodes are held, it is quick and leaves little to Measure.
func (c *Copier) Prepare(ctx context.Context) (node.Survey, error) {
	r, err := c.request(ctx, http.MethodPost, "/prepare", nil)
	if err != nil {
		return node.Survey{}, err
	}
	return ask[node.Survey](c.connection, r)
}

// Measure makes the cut. The pod gives up when ctx's deadline comes; without one it is an
// error, since nodes are held meanwhile. It is never sent twice.
func (c *Copier) Measure(ctx context.Context) (node.Measured, error) {
	deadline, has := ctx.Deadline()
	if !has {
		return node.Measured{}, errors.New("measure without a deadline")
	}
	within := time.Until(deadline).Milliseconds()
	if within < 1 {
		return node.Measured{}, fmt.Errorf("%s: %w", c.name, context.DeadlineExceeded)
	}
	r, err := c.request(ctx, http.MethodPost, "/measure", nil)
	if err != nil {
		return node.Measured{}, err
	}
	r.Header.Set(deadlineHeader, strconv.FormatInt(within, 10))
	return ask[node.Measured](c.connection, r)
}

// State tells whether the pod has measured, when, and what.
func (c *Copier) State(ctx context.Context) (state node.State, err error) {
	err = again(ctx, func() (bool, error) {
		r, err := c.request(ctx, http.MethodGet, "/state", nil)
		if err == nil {
			state, err = ask[node.State](c.connection, r)
		}
		return false, err
	})
	return state, err
}

// Source gives the files of the cut of that name (Measured.Cut). Its Close lets the files
// go, and ends the pod. A connection that breaks is made again, and what is read goes on
// where it was.
func (c *Copier) Source(cut string, key tree.HashKey) transfer.Source {
	return &source{c.connection, cut, key}
}

// Close closes the connections. The pod keeps what it has.
func (c *Copier) Close() { c.close() }

// source is a copier's files, of one cut.
type source struct {
	c   *connection
	cut string
	key tree.HashKey
}

func (s *source) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	r, err := s.c.request(ctx, method, "/cuts/"+s.cut+path, body)
	if err == nil {
		r.Header.Set(keyHeader, keyText(s.key))
	}
	return r, err
}

// Files implements transfer.Source.
func (s *source) Files(ctx context.Context) (files []tree.Meta, err error) {
	err = again(ctx, func() (bool, error) {
		r, err := s.request(ctx, http.MethodGet, "/files", nil)
		if err == nil {
			files, err = read(s.c, r, listed, decodeFiles)
		}
		return false, err
	})
	return files, err
}

// Match implements transfer.Source.
func (s *source) Match(ctx context.Context, file int, known []tree.Piece) (matched int, err error) {
	body := writePieces(known)
	err = again(ctx, func() (bool, error) {
		r, err := s.request(ctx, http.MethodPost, fmt.Sprintf("/files/%d/match", file), body)
		if err == nil {
			matched, err = ask[int](s.c, r)
		}
		return false, err
	})
	if err == nil && (matched < 0 || matched > len(known)) {
		err = fmt.Errorf("%s: %d of %d chunks match, it says", s.c.name, matched, len(known))
	}
	return matched, err
}

// Read implements transfer.Source.
func (s *source) Read(ctx context.Context, file int, from int64, yield func(transfer.Frame) error) error {
	begins := from
	return again(ctx, func() (further bool, err error) {
		r, err := s.request(ctx, http.MethodGet, fmt.Sprintf("/files/%d?from=%d", file, from), nil)
		if err != nil {
			return false, err
		}
		response, err := s.c.do(r)
		if err != nil {
			return false, err
		}
		defer func() { _ = response.Body.Close() }()
		in := bufio.NewReaderSize(response.Body, 64<<10)
		for {
			f, err := readFrame(in)
			switch {
			case errors.Is(err, io.EOF):
				rest(in)
				return true, nil
			case errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil:
				return further, fmt.Errorf("%s: %w in the middle of a file: %w", s.c.name, ErrLost, err)
			case err != nil:
				return further, named(s.c.name, err)
			}
			if from != begins && from%node.ChunkSize != 0 {
				f.Room.Back()
				return further, fmt.Errorf("%s: a chunk begins at byte %d; only a file's last chunk ends elsewhere than at multiples of %d bytes", s.c.name, from, node.ChunkSize)
			}
			if err := yield(f); err != nil {
				return further, err
			}
			from += f.Length
			further = true
		}
	})
}

// named has the peer's name in an error that it has told.
func named(name string, err error) error {
	var t *told
	if errors.As(err, &t) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// Close implements transfer.Source.
func (s *source) Close(ctx context.Context) error {
	r, err := s.c.request(ctx, http.MethodPost, "/close", nil)
	if err == nil {
		_, err = ask[struct{}](s.c, r)
	}
	s.c.close()
	return err
}
