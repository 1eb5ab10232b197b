package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// MessageType is the "type" of documents that become an SMS.
const MessageType = "sms"

// checkpoint is where Sentinel remembers how far it got: in the database, so that
// a clone goes on where its source was, and sends.
const checkpoint = "_local/sentinel-seq"

const retryAfter = time.Second

// Sentinel follows the changes of the database in couchURL and posts each message
// to gateway. It never ends by itself: what fails it tries again.
func Sentinel(ctx context.Context, couchURL, gateway string) error {
	base, user, password, database, err := couch.FromEnvironment(couchURL)
	if err != nil {
		return err
	}
	s := sentinel{c: couch.New(base, user, password, couch.Transport(4)), db: "/" + couch.Escape(database), gateway: gateway}
	for ctx.Err() == nil {
		if err := s.follow(ctx); ctx.Err() == nil {
			log.Printf("follow changes: %v", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	}
	return nil
}

type sentinel struct {
	c           *couch.Client
	db, gateway string
}

type change struct {
	ID      string
	Deleted bool
	Doc     map[string]any
}

// follow returns when something failed, and why.
func (s sentinel) follow(ctx context.Context) error {
	var mark struct {
		Rev string          `json:"_rev"`
		Seq json.RawMessage `json:"seq"`
	}
	if err := s.c.Get(ctx, s.db+"/"+checkpoint, &mark); err != nil && couch.Status(err) != http.StatusNotFound {
		return err
	}
	since := "0"
	for {
		if len(mark.Seq) > 0 {
			since = text(mark.Seq)
		}
		var batch struct {
			Results []change
			LastSeq json.RawMessage `json:"last_seq"`
		}
		query := url.Values{"feed": {"longpoll"}, "include_docs": {"true"}, "limit": {"200"}, "timeout": {"30000"}, "since": {since}}
		if err := s.c.Get(ctx, s.db+"/_changes?"+query.Encode(), &batch); err != nil {
			return err
		}
		for _, c := range batch.Results {
			if !c.Deleted && c.Doc["type"] == MessageType {
				if err := s.send(ctx, c.ID); err != nil {
					return err
				}
			}
		}
		mark.Seq = batch.LastSeq
		doc := map[string]any{"seq": mark.Seq}
		if mark.Rev != "" {
			doc["_rev"] = mark.Rev
		}
		var answer struct{ Rev string }
		if err := s.c.Do(ctx, http.MethodPut, s.db+"/"+checkpoint, doc, &answer); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		mark.Rev = answer.Rev
	}
}

// text is a sequence as it stands in a query: CouchDB's are strings, others may be numbers.
func text(seq json.RawMessage) string {
	var s string
	if json.Unmarshal(seq, &s) == nil {
		return s
	}
	return string(seq)
}

func (s sentinel) send(ctx context.Context, id string) error {
	if s.gateway == "" {
		return nil
	}
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.gateway, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("send %s: %w", id, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // only to use the connection again
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("send %s: HTTP %d", id, resp.StatusCode)
	}
	return nil
}

// Gateway counts what is posted to it; GET /count gives the number.
func Gateway() http.Handler {
	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1024))
		log.Printf("message %d: %s", count.Add(1), text)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, count.Load()) // the client is gone
	})
	return mux
}
