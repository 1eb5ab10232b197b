package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht/load"
)

func TestUnsettled(t *testing.T) {
	write := func(id string, from, to int) load.Write {
		w := wrote(from, to)
		w.ID = id
		return w
	}
	// b was updated after the moment, c was being written then, d came later.
	writes := []load.Write{write("a", -20, -10), write("b", -20, -10), write("b", 50, 60), write("c", -5, 5), write("d", 10, 20)}
	moving := unsettled(writes, zero)
	var ids []string
	for k := range moving {
		ids = append(ids, k.ID)
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"b", "c", "d"}) {
		t.Errorf("unsettled: %v", ids)
	}
	dump := &load.Dump{Docs: map[load.Key]string{{DB: "medic", ID: "a"}: "1-x", {DB: "medic", ID: "b"}: "2-x", {DB: "other", ID: "b"}: "1-y"},
		Locals: map[load.Key]string{{DB: "medic", ID: "_local/c"}: "0-1"}, Deleted: map[string]int64{"medic": 3}}
	got := settled(dump, moving)
	if want := map[load.Key]string{{DB: "medic", ID: "a"}: "1-x", {DB: "other", ID: "b"}: "1-y"}; !maps.Equal(got.Docs, want) {
		t.Errorf("settled: %v", got.Docs)
	}
	if len(got.Locals) != 1 || got.Deleted["medic"] != 3 {
		t.Errorf("the rest must stay: %v %v", got.Locals, got.Deleted)
	}
}

func TestResult(t *testing.T) {
	fine := finding{what: "fine"}
	bad := finding{what: "broken"}
	bad.problem("%d of %d", 1, 2)
	for _, test := range []struct {
		name string
		res  result
		good bool
		says string
	}{
		{"good", result{findings: []finding{fine}}, true, ""},
		{"nothing was looked at", result{}, false, ""},
		{"a finding", result{findings: []finding{fine, bad}}, false, "broken: 1 of 2"},
		{"lost", result{findings: []finding{bad}, lost: 1234}, false, "1,234 writes"},
		{"no point in time", result{findings: []finding{bad}, future: 2}, false, "2 writes from after"},
		{"an error", result{findings: []finding{fine}, err: errors.New("boom")}, false, "boom"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.res.good() != test.good {
				t.Errorf("good is %t", !test.good)
			}
			if says := failure(test.res); !test.good && !strings.Contains(says, test.says) {
				t.Errorf("%q does not say %q", says, test.says)
			}
		})
	}
}

func TestTable(t *testing.T) {
	lost := finding{what: "lost", problems: []string{"medic/x"}}
	results := []result{
		{mode: "Freeze", stall: ms(312), documents: 3412, before: 270, after: 180, safe: 4200 * time.Millisecond, restored: 25 * time.Second, findings: []finding{{what: "fine"}}},
		{lost: 1, before: 9, findings: []finding{lost}},
	}
	equal(t, table(results), `
run  mode        stall  documents   before    after   lost  too new   failed   safe copy   restore
1    Freeze     312 ms      3,412      270      180      0        0        0       4.2 s    25.0 s  good
2    -            0 ms          0        9        0      1        0        0           -         -  FAILED: lost: medic/x`)
}

func TestPartProblems(t *testing.T) {
	const one, host = "1 of 1 running", "for a.example"
	for _, test := range []struct {
		name                   string
		clone                  bool
		sentinel, api, ingress string
		policies, bad          int
	}{
		{"live", false, one, one, host, 0, 0},
		{"live but still closed in", false, one, one, host, 1, 1},
		{"live without its parts", false, "stopped", "0 of 1 running", "none", 0, 3},
		{"clone", true, "stopped", "stopped", "none", 1, 0},
		{"clone where the network is closed", true, "stopped", one, "none", 1, 0},
		{"clone that could send messages", true, one, one, "none", 1, 1},
		{"clone that can be reached and reach out", true, "stopped", "stopped", host, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := partProblems(test.clone, test.sentinel, test.api, test.ingress, host, test.policies); len(got) != test.bad {
				t.Errorf("got %q, want %d", got, test.bad)
			}
		})
	}
}

func TestContents(t *testing.T) {
	const photo = `{"_id":"seed-1","_rev":"1-a","n":1,"_attachments":{"p.bin":{"digest":"md5-XUFAKrxLKna5cZ2REBfFkg==","data":"aGVsbG8="}}}`
	read := func(docs ...string) contents {
		c := contents{sums: map[string][32]byte{}}
		for i, doc := range docs {
			if err := c.add(fmt.Sprintf("seed-%d", i), []byte(doc)); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	source := read(photo, `{"n":2}`)
	if source.attachments != 1 || source.bytes != 5 {
		t.Errorf("%d attachments, %d bytes", source.attachments, source.bytes)
	}
	for name, test := range map[string]struct {
		copied contents
		bad    int
	}{
		"same":           {read(photo, `{"n":2}`), 0},
		"other content":  {read(photo, `{"n":3}`), 1},
		"missing":        {read(photo), 1},
		"one too many":   {read(photo, `{"n":2}`, `{}`), 1},
		"attachment off": {read(`{}`, `{"n":2}`), 2},
	} {
		if got := source.differences(test.copied); len(got) != test.bad {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, doc := range map[string]string{"no document": "", "digest of something else": strings.Replace(photo, "aGVsbG8=", "aGVsbG9v", 1), "no data": strings.Replace(photo, "aGVsbG8=", "", 1)} {
		if err := (&contents{sums: map[string][32]byte{}}).add("x", []byte(doc)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestFlags(t *testing.T) {
	c, err := flags([]string{"--seconds-before", "2.5", "--clone"})
	if err != nil || c.before != 2500*time.Millisecond || !c.clone || c.nodes != 3 || c.runs != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, args := range [][]string{{"x"}, {"--nodes", "0"}, {"--seconds-after", "0"}, {"--rate", "-1"}} {
		if _, err := flags(args); err == nil {
			t.Errorf("%v passes", args)
		}
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	w := s.indented()
	for _, part := range []string{"one\ntw", "o\n", "three"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(part), err)
		}
	}
	w.flush()
	s.good("%s", "done")
	equal(t, []string{out.String()}, "    one\n    two\n    three\n  ✓ done\n")
	out.Reset()
	s.colour = true
	s.good("done")
	if !strings.Contains(out.String(), "\x1b[32m") {
		t.Errorf("no colour: %q", out.String())
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "-", ms(12): "12 ms", ms(1250): "1.2 s", 61 * time.Second: "1m1s"} {
		if got := short(d); got != want {
			t.Errorf("short(%s) = %s, want %s", d, got, want)
		}
	}
}
