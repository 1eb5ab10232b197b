package link

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// ServeFiller serves a volume until it is finished.
func ServeFiller(ctx context.Context, sink transfer.Sink, o ServeOptions) error {
	s, err := newServer(o)
	if err != nil {
		return err
	}
	return s.run(ctx, o, (&fillerServer{s, sink}).handler())
}

type fillerServer struct {
	*server
	sink transfer.Sink
}

func (f *fillerServer) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /v1/begin", call(f.begun))
	m.HandleFunc("PUT /v1/files/{file}", f.put)
	m.HandleFunc("POST /v1/finish", call(func(r *http.Request) (struct{}, error) {
		err := f.sink.Finish(r.Context())
		if err == nil {
			defer f.finish()
		}
		return struct{}{}, err
	}))
	return m
}

func (f *fillerServer) begun(r *http.Request) ([]int, error) {
	key, err := parseKey(r.Header.Get(keyHeader))
	if err != nil {
		return nil, err
	}
	body, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	var files []tree.Meta
	if err := json.Unmarshal(body, &files); err != nil {
		return nil, err
	}
	return f.sink.Begin(r.Context(), files, key)
}

func (f *fillerServer) put(w http.ResponseWriter, r *http.Request) {
	in := bufio.NewReaderSize(patientReader{r.Context(), w, r.Body, f.idle}, 64<<10)
	err := f.putFrom(in, r)
	if err == nil {
		_, _ = in.ReadByte() // the end of the request
	}
	_ = json.NewEncoder(w).Encode(reply[struct{}]{Problem: problemOf(err)})
	if err == nil {
		return
	}
	// The other end is writing still, and would take a connection that is closed on it for
	// the reason. It stops as soon as it has read the answer.
	control := http.NewResponseController(w)
	_ = control.Flush()
	_ = control.SetReadDeadline(time.Now().Add(lingers))
	_, _ = io.Copy(io.Discard, r.Body)
}

// lingers is how long an answer has time to arrive before the connection is closed.
const lingers = 5 * time.Second

func (f *fillerServer) putFrom(in *bufio.Reader, r *http.Request) error {
	file, err := strconv.Atoi(r.PathValue("file"))
	if err != nil {
		return err
	}
	if err := f.transfers.Acquire(r.Context(), 1); err != nil {
		return err
	}
	defer f.transfers.Release(1)
	return f.sink.Put(r.Context(), file, func() (transfer.Frame, error) {
		if r.Context().Err() != nil {
			return transfer.Frame{}, context.Cause(r.Context())
		}
		return readFrame(in)
	})
}
