package fingerprint

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type entry struct {
	id      string
	revs    []string
	deleted bool
}

func some(n int) []entry {
	all := make([]entry, n)
	for i := range all {
		all[i] = entry{fmt.Sprintf("doc-%05d", i), []string{fmt.Sprintf("1-%d", i)}, i%7 == 0}
		if i%5 == 0 {
			all[i].revs = append(all[i].revs, fmt.Sprintf("1-other%d", i))
		}
	}
	return all
}

func sumOf(entries []entry, without ...uint16) (string, int64) {
	d := &Digest{}
	for _, e := range entries {
		d.Add(e.id, e.revs, e.deleted)
	}
	return d.Sum(without)
}

func TestDigest(t *testing.T) {
	all := some(3000)
	want, n := sumOf(all)
	if n != 3000 || len(want) != 64 || strings.Trim(want, "0") == "" {
		t.Fatalf("%s of %d", want, n)
	}
	change := func(f func(*entry)) []entry {
		other := slices.Clone(all)
		other[1234].revs = slices.Clone(other[1234].revs)
		f(&other[1234])
		return other
	}
	shuffled := change(func(*entry) {})
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	turned := change(func(*entry) {})
	for i := range turned {
		turned[i].revs = slices.Clone(turned[i].revs)
		slices.Reverse(turned[i].revs)
	}
	for name, tt := range map[string]struct {
		entries []entry
		same    bool
	}{
		"another order":              {shuffled, true},
		"revisions in another order": {turned, true},
		"one missing":                {all[1:], false},
		"one too many":               {append(slices.Clone(all), entry{"doc-x", []string{"1-x"}, false}), false},
		"one twice":                  {append(slices.Clone(all), all[0]), false},
		"another revision":           {change(func(e *entry) { e.revs[0] = "1-zzz" }), false},
		"a revision more":            {change(func(e *entry) { e.revs = append(e.revs, "1-zzz") }), false},
		"deleted":                    {change(func(e *entry) { e.deleted = !e.deleted }), false},
		"another id":                 {change(func(e *entry) { e.id = "doc-x" }), false},
		"a letter from one to the other": {change(func(e *entry) {
			e.revs[0], e.id = e.id[len(e.id)-1:]+e.revs[0], e.id[:len(e.id)-1]
		}), false},
		"none": {nil, false},
	} {
		if got, _ := sumOf(tt.entries); (got == want) != tt.same {
			t.Errorf("%s: same digest: %v", name, got == want)
		}
	}
	d := &Digest{}
	for _, e := range all {
		d.Add(e.id, e.revs, e.deleted)
	}
	d.Reset()
	if got, n := d.Sum(nil); n != 0 || d.Len() != 0 || strings.Trim(got, "0") != "" {
		t.Errorf("after Reset: %s of %d", got, n)
	}
}

// Two that are changed in the same way do not cancel each other out.
func TestSwappedRevisions(t *testing.T) {
	a := []entry{{"a", []string{"1-x"}, false}, {"b", []string{"1-y"}, false}}
	b := []entry{{"a", []string{"1-y"}, false}, {"b", []string{"1-x"}, false}}
	one, _ := sumOf(a)
	other, _ := sumOf(b)
	if one == other {
		t.Error("the same digest")
	}
}

func TestWithout(t *testing.T) {
	all := some(500)
	without := Without{BucketOf("doc-00007"), BucketOf("doc-00400")}
	slices.Sort(without)
	want, n := sumOf(all, without...)
	if n != 498 {
		t.Fatalf("%d documents are compared", n) // no other of the 500 shares their buckets
	}
	other := slices.Clone(all)
	other[7].revs, other[400].revs = []string{"9-9"}, nil
	if got, _ := sumOf(other, without...); got != want {
		t.Error("what is left out is compared")
	}
	other[8].revs = []string{"9-9"}
	if got, _ := sumOf(other, without...); got == want {
		t.Error("what is not left out is not compared")
	}
	text, err := json.Marshal(Database{Without: without})
	if err != nil {
		t.Fatal(err)
	}
	var back Database
	if err := json.Unmarshal(text, &back); err != nil || !slices.Equal(back.Without, without) || len(text) > 40 {
		t.Errorf("%s: %v, %v", text, back.Without, err)
	}
	for _, bad := range []string{`"0"`, `"000"`, `"00gg"`, `"` + strings.Repeat("0000", Buckets+1) + `"`} {
		if err := json.Unmarshal([]byte(bad), &back.Without); err == nil {
			t.Errorf("took %.20s", bad)
		}
	}
}
