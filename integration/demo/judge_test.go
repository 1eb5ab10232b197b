package main

import (
	"fmt"
	"maps"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/load"
)

// judged is a run whose writer wrote before, during and after the hold, which
// lasts from 0 to 400 ms, and a copy that is as it should be.
func judged() (*run, *load.Dump) {
	write := func(id, rev string, from, to int) load.Write {
		w := wrote(from, to)
		w.ID, w.Rev = id, rev
		return w
	}
	r := &run{cfg: config{users: 1}, b: backup(api.QuiesceFreeze, 200)}
	r.writes = []load.Write{write("a", "1-a", -90, -80), write("b", "1-b", -70, -60), write("c", "1-c", -5, 405), write("b", "2-b", 500, 510), write("d", "1-d", 520, 530)}
	r.sum = load.Summary{Sent: 5, Acknowledged: 5}
	r.measure()
	key := func(id string) load.Key { return load.Key{DB: "medic", ID: id} }
	r.before = &load.Dump{Docs: map[load.Key]string{key("seed"): "1-s", key("a"): "1-a", key("b"): "2-b", key("c"): "1-c", key("d"): "1-d"},
		Locals: map[load.Key]string{}, Deleted: map[string]int64{"medic": 2}}
	for _, db := range []string{"medic", "medic-user-x-meta"} {
		for _, id := range checkpoints {
			r.before.Locals[load.Key{DB: db, ID: id}] = "0-1"
		}
	}
	return r, &load.Dump{Docs: map[load.Key]string{key("seed"): "1-s", key("a"): "1-a", key("b"): "1-b"},
		Locals: maps.Clone(r.before.Locals), Deleted: maps.Clone(r.before.Deleted)}
}

// TestJudge sees that each way in which a copy can be wrong is told, and counted.
func TestJudge(t *testing.T) {
	key := func(id string) load.Key { return load.Key{DB: "medic", ID: id} }
	for _, test := range []struct {
		name         string
		spoil        func(*run, *load.Dump)
		bad          int
		lost, future int
	}{
		{name: "as it should be"},
		{name: "what was under way may be there", spoil: func(_ *run, d *load.Dump) { d.Docs[key("c")] = "1-c" }},
		{"a saved write is missing", func(_ *run, d *load.Dump) { delete(d.Docs, key("a")) }, 2, 1, 0}, // also as a document
		{"a saved write that was changed later is missing", func(_ *run, d *load.Dump) { delete(d.Docs, key("b")) }, 1, 1, 0},
		{"a later write is there", func(_ *run, d *load.Dump) { d.Docs[key("d")] = "1-d" }, 1, 0, 1},
		{"a later change is there", func(_ *run, d *load.Dump) { d.Docs[key("b")] = "2-b" }, 1, 0, 1},
		{"a seeded document is missing", func(_ *run, d *load.Dump) { delete(d.Docs, key("seed")) }, 1, 0, 0},
		{"another revision", func(_ *run, d *load.Dump) { d.Docs[key("seed")] = "2-x" }, 1, 0, 0},
		{"a document that never was", func(_ *run, d *load.Dump) { d.Docs[key("new")] = "1-x" }, 1, 0, 0},
		{"a checkpoint is missing", func(_ *run, d *load.Dump) { delete(d.Locals, key(checkpoints[0])) }, 1, 0, 0},
		{"deleted documents came back", func(_ *run, d *load.Dump) { d.Deleted["medic"] = 1 }, 1, 0, 0},
		{"a database is missing", func(r *run, _ *load.Dump) { r.before.Deleted["medic-logs"] = 0 }, 1, 0, 0},
		{"a write failed", func(r *run, _ *load.Dump) { r.writes[2].Status = 503 }, 1, 0, 0},
		{"nothing written before", func(r *run, _ *load.Dump) { r.writes = r.writes[2:] }, 1, 0, 0},
		{"nothing written after", func(r *run, _ *load.Dump) { r.writes, r.res.after = r.writes[:3], 0 }, 2, 0, 0}, // and b is not what it was
		{"cut outside the hold", func(r *run, _ *load.Dump) { r.b = backup(api.QuiesceFreeze, 20) }, 1, 0, 0},
		{"more users than checkpoints", func(r *run, _ *load.Dump) { r.cfg.users = 2 }, 1, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, copied := judged()
			if test.spoil != nil {
				test.spoil(r, copied)
			}
			r.judgeWrites(copied)
			r.judgeDocuments(copied)
			var bad []string
			for _, f := range r.res.findings {
				if len(f.problems) > 0 {
					bad = append(bad, fmt.Sprint(f.what, f.problems))
				}
			}
			if len(bad) != test.bad || r.res.lost != test.lost || r.res.future != test.future {
				t.Errorf("%d findings are bad, %d lost, %d too new; want %d, %d, %d: %q", len(bad), r.res.lost, r.res.future, test.bad, test.lost, test.future, bad)
			}
			if r.res.good() != (test.bad == 0) {
				t.Errorf("good: %t", r.res.good())
			}
		})
	}
}

func TestMeasure(t *testing.T) {
	r, _ := judged()
	if r.res.before != 2 || r.res.open != 1 || r.res.after != 2 || r.res.medianWait != ms(10) || r.res.longHeld != ms(410) || r.res.longOther != ms(10) || r.res.safe != ms(3000) {
		t.Errorf("%+v", r.res)
	}
}
