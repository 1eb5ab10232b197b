package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sort"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

type wireAtt struct {
	shardfile.Att
	Data []byte
}

type wireLeaf struct {
	Pos     int
	Path    []string
	Deleted bool
	Body    json.RawMessage
	Atts    []wireAtt
}

func (l *wireLeaf) rev() string { return strconv.Itoa(l.Pos) + "-" + l.Path[0] }

// wireDoc is a document between nodes, winner first.
type wireDoc struct {
	ID     string
	Seq    uint64
	Leaves []wireLeaf
	Local  json.RawMessage // a _local document's body
	Rev    string          // and its revision
}

type docRequest struct {
	Shard  string
	ID     string
	Local  bool
	Bodies bool // of all leaves, else the winner's only
	Data   bool // attachments too
}

type updateRequest struct {
	Shard string
	Edits []shardfile.Edit
}

type updateResult struct {
	Rev    string
	Status int
	Code   string
	Reason string
}

type rangeRequest struct {
	Shard        string
	Start, End   string
	HasEnd       bool
	ExclusiveEnd bool
	Descending   bool
	Limit        int
	Docs         bool
}

type rangeAnswer struct {
	Total int
	Docs  []*wireDoc
}

type changesRequest struct {
	Shard      string
	Since      uint64
	UUID       string // the file's lineage that Since counts in
	Limit      int
	Descending bool
	Docs       bool
}

type changesAnswer struct {
	UUID    string
	Seq     uint64
	Docs    []*wireDoc
	Pending int
}

type shardRequest struct{ Shard string }

type propRequest struct {
	Shard, Key string
	Value      json.RawMessage `json:",omitempty"` // none to read it
}

// registerShardCalls registers what nodes ask of each other's shards. A node in
// maintenance mode refuses all of it, creating and deleting excepted.
func (n *Node) registerShardCalls() {
	onShard(n, "doc", func(f *shardfile.File, r docRequest) (*wireDoc, error) { return readDoc(f, r) })
	onShard(n, "update", updateShard)
	onShard(n, "range", readRange)
	onShard(n, "changes", readChanges)
	onShard(n, "info", func(f *shardfile.File, _ shardRequest) (shardfile.Info, error) { return f.Info(), nil })
	onShard(n, "prop", func(f *shardfile.File, r propRequest) (json.RawMessage, error) {
		if r.Value == nil {
			return f.Prop(r.Key), nil
		}
		return nil, f.SetProp(r.Key, r.Value)
	})
	onShard(n, "compact", func(f *shardfile.File, _ shardRequest) (none, error) {
		go f.Compact() //nolint:errcheck // as in CouchDB the request does not wait for it
		return none{}, nil
	})
	onShard(n, "view", n.readView)
	register(n, "create", func(_ context.Context, r shardRequest) (none, error) {
		_, err := n.openFile(r.Shard)
		return none{}, err
	})
}

func (r docRequest) shard() string     { return r.Shard }
func (r updateRequest) shard() string  { return r.Shard }
func (r rangeRequest) shard() string   { return r.Shard }
func (r changesRequest) shard() string { return r.Shard }
func (r shardRequest) shard() string   { return r.Shard }
func (r propRequest) shard() string    { return r.Shard }

func onShard[Req interface{ shard() string }, Resp any](n *Node, method string, fn func(*shardfile.File, Req) (Resp, error)) {
	register(n, method, func(_ context.Context, r Req) (Resp, error) {
		var zero Resp
		if n.maintained() {
			return zero, n.inMaintenance()
		}
		f, err := n.openFile(r.shard())
		if err != nil {
			return zero, err
		}
		return fn(f, r)
	})
}

func readDoc(f *shardfile.File, r docRequest) (*wireDoc, error) {
	if r.Local {
		rev, body, ok := f.Local(r.ID)
		if !ok {
			return nil, nil
		}
		return &wireDoc{ID: r.ID, Local: body, Rev: rev}, nil
	}
	return wire(f, f.Doc(r.ID), true, r.Bodies, r.Data)
}

func wire(f *shardfile.File, d *shardfile.Doc, body, allBodies, data bool) (*wireDoc, error) {
	if d == nil {
		return nil, nil
	}
	out := &wireDoc{ID: d.ID, Seq: d.Seq}
	for i, l := range d.Leaves {
		wl := wireLeaf{Pos: l.Pos, Path: l.Path, Deleted: l.Deleted}
		if allBodies || body && i == 0 {
			var err error
			if wl.Body, err = f.Body(d, l); err != nil {
				return nil, err
			}
		}
		for _, a := range l.Atts {
			wa := wireAtt{Att: a}
			if data {
				var err error
				if wa.Data, err = f.Attachment(d, a); err != nil {
					return nil, err
				}
			}
			wl.Atts = append(wl.Atts, wa)
		}
		out.Leaves = append(out.Leaves, wl)
	}
	return out, nil
}

func updateShard(f *shardfile.File, r updateRequest) ([]updateResult, error) {
	out := make([]updateResult, len(r.Edits))
	for i, res := range f.Update(r.Edits) {
		out[i].Rev = res.Rev
		if res.Err == nil {
			continue
		}
		var re *dist.RemoteError
		if !errors.As(editError(res.Err), &re) {
			re = &dist.RemoteError{Status: http.StatusInternalServerError, Code: "internal_server_error", Reason: res.Err.Error()}
		}
		out[i].Status, out[i].Code, out[i].Reason = re.Status, re.Code, re.Reason
	}
	return out, nil
}

func readRange(f *shardfile.File, r rangeRequest) (rangeAnswer, error) {
	f.Info() // one turn at the disk
	ids := f.IDs()
	out := rangeAnswer{Total: len(ids)}
	low, high, hasHigh := r.Start, r.End, r.HasEnd
	if r.Descending {
		low, high, hasHigh = r.End, r.Start, r.Start != ""
	}
	ids = ids[sort.SearchStrings(ids, low):]
	if hasHigh {
		i, found := slices.BinarySearch(ids, high)
		if found {
			i++
		}
		ids = ids[:i]
	}
	if r.ExclusiveEnd && len(ids) > 0 && r.HasEnd {
		if r.Descending && ids[0] == r.End {
			ids = ids[1:]
		} else if !r.Descending && ids[len(ids)-1] == r.End {
			ids = ids[:len(ids)-1]
		}
	}
	ids = slices.Clone(ids)
	if r.Descending {
		slices.Reverse(ids)
	}
	for _, id := range ids[:min(len(ids), r.Limit)] {
		d := f.Memory(id)
		if d.Winner().Deleted {
			continue // deleted since the list was made
		}
		w, err := wire(f, d, r.Docs, false, false)
		if err != nil {
			return out, err
		}
		out.Docs = append(out.Docs, w)
	}
	return out, nil
}

// readChanges starts over when the token counts in another file's lineage.
func readChanges(f *shardfile.File, r changesRequest) (changesAnswer, error) {
	f.Info() // one turn at the disk
	out := changesAnswer{UUID: f.UUID()}
	if r.UUID != "" && r.UUID != out.UUID[:len(r.UUID)] {
		r.Since = 0
	}
	out.Seq = r.Since
	docs, pending := f.Since(r.Since, r.Limit, r.Descending)
	out.Pending = pending
	for _, d := range docs {
		w, err := wire(f, d, r.Docs, false, false)
		if err != nil {
			return out, err
		}
		out.Docs = append(out.Docs, w)
		out.Seq = max(out.Seq, d.Seq)
	}
	return out, nil
}
