package link

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Filler is a filler pod, as the controller sees it: the volume that it fills. As with a
// Copier, the newest for a pod is the one that counts.
type Filler struct{ *connection }

var _ transfer.Sink = (*Filler)(nil)

// DialFiller has the pod admit this process. Begin connects.
func DialFiller(ctx context.Context, p Peer) (*Filler, error) {
	c, err := dial(ctx, p, FillerAdmit)
	if err != nil {
		return nil, err
	}
	return &Filler{c}, nil
}

// Begin implements transfer.Sink.
func (f *Filler) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) (done []int, err error) {
	body, err := json.Marshal(files)
	if err != nil {
		return nil, err
	}
	err = again(ctx, func() (bool, error) {
		r, err := f.request(ctx, http.MethodPost, "/begin", body)
		if err == nil {
			r.Header.Set(keyHeader, keyText(key))
			done, err = ask[[]int](f.connection, r)
		}
		return false, err
	})
	return done, err
}

// Put implements transfer.Sink. A connection that breaks is an error that wraps ErrLost:
// dial again and begin again, what is complete is told then.
func (f *Filler) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	body, into := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, fmt.Sprintf("%s/files/%d", f.base, file), body)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	wrote := make(chan error, 1)
	go func() {
		err := writeAll(into, next)
		_ = into.Close()
		wrote <- err
	}()
	_, err = ask[struct{}](f.connection, r)
	// Nobody asks next any more when this returns.
	_ = body.CloseWithError(errNotWanted)
	if failed := <-wrote; failed != nil {
		return failed // of next: the pod says only that it was told so
	}
	return err
}

// errNotWanted ends what is written to a pod that has answered already.
var errNotWanted = errors.New("the pod wants no more of it")

// writeAll writes all frames; its error is next's alone.
func writeAll(into io.Writer, next func() (transfer.Frame, error)) error {
	out := bufio.NewWriterSize(into, 64<<10)
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			if err := writeFrame(out, f); err != nil {
				return nil //nolint:nilerr // the answer says why
			}
			continue
		}
		_ = writeEnd(out, err)
		_ = out.Flush()
		return err
	}
}

// Finish implements transfer.Sink. The pod's container then ends with success.
func (f *Filler) Finish(ctx context.Context) error {
	r, err := f.request(ctx, http.MethodPost, "/finish", nil)
	if err == nil {
		_, err = ask[struct{}](f.connection, r)
	}
	return err
}

// Close closes the connections. The pod keeps what it has.
func (f *Filler) Close() { f.close() }
