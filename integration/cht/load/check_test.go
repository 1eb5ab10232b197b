package load

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func at(second int64) time.Time { return time.Unix(second, 0) }

func wrote(id, rev string, start, end int64) Write {
	return Write{DB: "medic", ID: id, Rev: rev, Start: start * 1e9, End: end * 1e9, Status: 201}
}

func dumpOf(docs ...string) *Dump {
	d := &Dump{Docs: map[Key]string{}, Locals: map[Key]string{}, Deleted: map[string]int64{"medic": 0}}
	for _, doc := range docs {
		id, rev, _ := strings.Cut(doc, "=")
		d.Docs[Key{"medic", id}] = rev
	}
	return d
}

func TestCheckWrites(t *testing.T) {
	failed := wrote("f", "", 1, 2)
	failed.Status = 503
	for name, test := range map[string]struct {
		dump                                *Dump
		writes                              []Write
		wantPresent, wantLost, future, open int
	}{
		"present":               {dumpOf("a=1-x"), []Write{wrote("a", "1-x", 1, 2)}, 1, 0, 0, 0},
		"lost":                  {dumpOf(), []Write{wrote("a", "1-x", 1, 2)}, 0, 1, 0, 0},
		"updated since":         {dumpOf("a=2-y"), []Write{wrote("a", "1-x", 1, 2)}, 1, 0, 0, 0},
		"update lost":           {dumpOf("a=1-x"), []Write{wrote("a", "1-x", 1, 2), wrote("a", "2-y", 3, 4)}, 1, 1, 0, 0},
		"other branch":          {dumpOf("a=1-z"), []Write{wrote("a", "1-x", 1, 2)}, 0, 1, 0, 0},
		"under way":             {dumpOf(), []Write{wrote("a", "1-x", 9, 30)}, 0, 0, 0, 1},
		"after, absent":         {dumpOf(), []Write{wrote("a", "1-x", 25, 30)}, 0, 0, 0, 0},
		"after, present":        {dumpOf("a=1-x"), []Write{wrote("a", "1-x", 25, 30)}, 0, 0, 1, 0},
		"after, old rev there":  {dumpOf("a=1-x"), []Write{wrote("a", "2-y", 25, 30)}, 0, 0, 0, 0},
		"failed is no loss":     {dumpOf(), []Write{failed}, 0, 0, 0, 1},
		"answered in the stall": {dumpOf(), []Write{wrote("a", "1-x", 9, 15)}, 0, 0, 0, 1},
	} {
		v := CheckWrites(test.dump, test.writes, at(10), at(20))
		if v.Present != test.wantPresent || len(v.Lost) != test.wantLost || len(v.Future) != test.future || v.Open != test.open {
			t.Errorf("%s: %s", name, v)
		}
	}
	if CheckWrites(dumpOf(), nil, at(10), at(20)).Good() {
		t.Error("nothing written was judged good")
	}
}

func TestCheckPairs(t *testing.T) {
	b := wrote("b", "1-y", 3, 4)
	pair := Pair{Seq: 1, A: wrote("a", "1-x", 1, 2), B: &b}
	for name, test := range map[string]struct {
		dump *Dump
		want CausalVerdict
		bad  int
	}{
		"both":    {dumpOf("a=1-x", "b=1-y"), CausalVerdict{Both: 1}, 0},
		"only a":  {dumpOf("a=1-x"), CausalVerdict{OnlyA: 1}, 0},
		"neither": {dumpOf(), CausalVerdict{Neither: 1}, 0},
		"only b":  {dumpOf("b=1-y"), CausalVerdict{}, 1},
	} {
		v := CheckPairs(test.dump, []Pair{pair})
		if v.Both != test.want.Both || v.OnlyA != test.want.OnlyA || v.Neither != test.want.Neither || len(v.Violations) != test.bad {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestDiff(t *testing.T) {
	source := dumpOf("a=1-x", "b=1-y")
	if diff := Diff(source, dumpOf("a=1-x", "b=1-y")); len(diff) != 0 {
		t.Errorf("equal dumps differ: %v", diff)
	}
	copied := dumpOf("a=2-x", "c=1-z")
	copied.Deleted["medic"], copied.Deleted["other"] = 3, 0
	if diff := Diff(source, copied); len(diff) != 5 {
		t.Errorf("got %d differences, want 5: %v", len(diff), diff)
	}
}

func TestReadDump(t *testing.T) {
	whole := "doc medic a%2F+b 1-x\nlocal medic _local%2Fc 0-1\ndeleted medic 3\n"
	if _, err := ReadDump(strings.NewReader(whole)); err == nil {
		t.Error("a dump without its end was accepted")
	}
	d, err := ReadDump(bytes.NewBufferString(whole + "end\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Docs[Key{"medic", "a/ b"}] != "1-x" || d.Locals[Key{"medic", "_local/c"}] != "0-1" || d.Deleted["medic"] != 3 {
		t.Errorf("read %+v", d)
	}
}

func TestPairOfRotatesOverAllPairs(t *testing.T) {
	seen := map[string]int{}
	for seq := range int64(12) {
		a, b := pairOf([]string{"x", "y", "z"}, seq)
		if a == b {
			t.Fatalf("pair %d is of %s with itself", seq, a)
		}
		seen[a+b]++
	}
	for pair, n := range seen {
		if n != 2 {
			t.Errorf("%s came %d times, want 2", pair, n)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d ordered pairs, want 6", len(seen))
	}
}
