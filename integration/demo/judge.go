package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
)

// checkpoints are those that the seed puts into medic and each user's database.
var checkpoints = []string{load.Checkpoint(0), load.Checkpoint(1)}

// finding is one thing that was looked at. Without problems it is as it should be.
type finding struct {
	what     string
	problems []string
}

func (f *finding) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

func (r *run) add(f finding) { r.res.findings = append(r.res.findings, f) }

func (r *run) dump(ctx context.Context, namespace string) (*load.Dump, error) {
	d, err := r.c.Dump(ctx, namespace, "", strings.Join(checkpoints, ","))
	if err != nil {
		return nil, err
	}
	// CouchDB writes into this one by itself.
	return d.Only(func(db string) bool { return db != "_global_changes" }), nil
}

// judge compares the copy with what the writer was told and what the source was.
func (r *run) judge(ctx context.Context) error {
	r.s.numbered("The copy is judged", "By the writer's notes and the source's last state, not by what the product says of itself.")
	copied, err := r.dump(ctx, r.target.Namespace)
	if err != nil {
		return err
	}
	r.res.documents, r.res.databases = len(copied.Docs), len(copied.Deleted)
	r.judgeWrites(copied)
	r.judgeDocuments(copied)
	for _, check := range []func(context.Context, *load.Dump) finding{r.judgeContents, r.judgeView, r.judgeLogin, r.judgeCluster} {
		r.add(check(ctx, copied))
	}
	r.add(r.judgeParts(ctx))
	if r.cfg.clone {
		r.add(r.judgeSource(ctx))
	} else {
		r.add(r.judgeUse(ctx)) // the last: it writes
	}
	return nil
}

// judgeWrites is the heart of it.
func (r *run) judgeWrites(copied *load.Dump) {
	t := r.b.Status.Timeline
	v := load.CheckWrites(copied, r.writes, t.QuiesceStart.Time, t.Released.Add(time.Microsecond)) // the status has whole microseconds
	r.res.lost, r.res.future = len(v.Lost), len(v.Future)
	kept := finding{what: fmt.Sprintf("each of the %s writes that were told \"saved\" before the cut is there", count(v.Present)), problems: v.Lost}
	if len(v.Lost) > 0 {
		kept.what = fmt.Sprintf("%s of %s writes that were told \"saved\" before the cut are LOST", count(len(v.Lost)), count(v.Present+len(v.Lost)))
	} else if v.Present == 0 {
		kept.problem("nothing was written before the cut, so nothing is proven")
	}
	r.add(kept)
	none := finding{what: fmt.Sprintf("none of the %s writes that were sent after the release is there: it is one moment, not a smear", count(r.res.after)), problems: v.Future}
	if r.res.after == 0 {
		none.problem("nothing was written after the release, so nothing is proven")
	}
	r.add(none)
	failed := finding{what: fmt.Sprintf("no write failed: %s sent, %s saved", count(int(r.sum.Sent)), count(int(r.sum.Acknowledged)))}
	for _, w := range r.writes {
		if !w.Acknowledged() {
			failed.problem("%s/%s: HTTP %d %s", w.DB, w.ID, w.Status, w.Error)
		}
	}
	r.add(failed)
	if r.res.mode != api.QuiesceNone {
		r.add(finding{what: "every volume was cut while all nodes were held", problems: outsideHold(r.b)})
	}
}

// judgeDocuments compares all that was not being written around the cut.
func (r *run) judgeDocuments(copied *load.Dump) {
	moving := unsettled(r.writes, r.b.Status.Timeline.QuiesceStart.Time)
	source, same := settled(r.before, moving), settled(copied, moving)
	r.add(finding{what: fmt.Sprintf("%s documents in %d databases have the same ids and revisions as in the source", count(len(source.Docs)), len(source.Deleted)),
		problems: load.Diff(&load.Dump{Docs: source.Docs, Deleted: source.Deleted}, &load.Dump{Docs: same.Docs, Deleted: same.Deleted})})
	phones := finding{what: fmt.Sprintf("%s checkpoints (_local documents) are there: phones go on syncing where they were", count(len(source.Locals))),
		problems: load.Diff(&load.Dump{Locals: source.Locals}, &load.Dump{Locals: same.Locals})}
	if want := (r.cfg.users + 1) * len(checkpoints); len(source.Locals) != want {
		phones.problem("the source had %d, want %d", len(source.Locals), want)
	}
	r.add(phones)
}

// unsettled are the documents that were written, or still being written, at or
// after a moment.
func unsettled(writes []load.Write, moment time.Time) map[load.Key]bool {
	keys := map[load.Key]bool{}
	for _, w := range writes {
		if w.End >= moment.UnixNano() {
			keys[load.Key{DB: w.DB, ID: w.ID}] = true
		}
	}
	return keys
}

// settled leaves those documents out.
func settled(d *load.Dump, moving map[load.Key]bool) *load.Dump {
	out := &load.Dump{Docs: map[load.Key]string{}, Locals: d.Locals, Deleted: d.Deleted}
	for k, rev := range d.Docs {
		if !moving[k] {
			out.Docs[k] = rev
		}
	}
	return out
}

func (r *run) judgeContents(ctx context.Context, _ *load.Dump) finding {
	f := finding{what: fmt.Sprintf("the content of all %s seeded documents is the same to the byte, with %s attachments (%.1f MB)",
		count(len(r.contents.sums)), count(r.contents.attachments), float64(r.contents.bytes)/1e6)}
	copied, err := readContents(ctx, r.couchThrough(r.target))
	if err != nil {
		f.problem("%v", err)
		return f
	}
	f.problems = r.contents.differences(copied)
	if len(r.contents.sums) == 0 {
		f.problem("there was nothing to compare")
	}
	return f
}

// judgeView asks the view, which counts every document that has a type.
func (r *run) judgeView(ctx context.Context, copied *load.Dump) finding {
	want := 0
	for k := range copied.Docs {
		if k.DB == "medic" && !strings.HasPrefix(k.ID, "_design/") {
			want++
		}
	}
	f := finding{what: fmt.Sprintf("the view medic-client/by_type answers, and counts %s documents", count(want))}
	var answer struct{ Rows []struct{ Value int } }
	if err := r.couchThrough(r.target).Get(ctx, load.View, &answer); err != nil {
		f.problem("%v", err)
	} else if len(answer.Rows) != 1 || answer.Rows[0].Value != want {
		f.problem("it answers %v", answer.Rows)
	}
	return f
}

// judgeLogin logs a plain user in, and sees that a wrong password is refused.
func (r *run) judgeLogin(ctx context.Context, _ *load.Dump) finding {
	name, password := load.User(r.cfg.users - 1)
	f := finding{what: "user " + name + " logs in with the old password, a wrong one is refused"}
	var session struct {
		UserCtx struct {
			Name  string
			Roles []string
		}
	}
	if err := r.couchAs(r.target, name, password).Get(ctx, "/_session", &session); err != nil {
		f.problem("log in: %v", err)
	} else if session.UserCtx.Name != name || !slices.Equal(session.UserCtx.Roles, []string{"chw"}) {
		f.problem("logged in as %q with roles %v", session.UserCtx.Name, session.UserCtx.Roles)
	}
	if err := r.couchAs(r.target, name, "not "+password).Get(ctx, "/_session", nil); couch.Status(err) != http.StatusUnauthorized {
		f.problem("a wrong password is not refused: %v", err)
	}
	return f
}

// judgeCluster sees that the copy's nodes know each other and nobody else.
func (r *run) judgeCluster(ctx context.Context, _ *load.Dump) finding {
	f := finding{what: fmt.Sprintf("its %d CouchDB nodes are a cluster of their own, under new names", r.cfg.nodes)}
	if r.cfg.nodes == 1 {
		f.what = "its CouchDB node stands alone"
	}
	f.problems = r.members(ctx, r.target)
	return f
}

func (r *run) members(ctx context.Context, o cht.Options) []string {
	var problems []string
	for _, server := range o.Servers() {
		var m struct {
			All     []string `json:"all_nodes"`
			Cluster []string `json:"cluster_nodes"`
		}
		err := couch.New("http://"+server+":5984", o.User, o.Password, r.c.Transport()).Get(ctx, "/_membership", &m)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", server, err))
		} else if !couch.SameSet(m.All, o.ErlangNames()) || !couch.SameSet(m.Cluster, o.ErlangNames()) {
			problems = append(problems, fmt.Sprintf("%s knows %v and %v", server, m.All, m.Cluster))
		}
	}
	return problems
}
