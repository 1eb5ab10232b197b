package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht/load"
)

var zero = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func wrote(from, to int) load.Write {
	return load.Write{DB: "medic", ID: "w", Rev: "1-a", Start: zero.Add(ms(from)).UnixNano(), End: zero.Add(ms(to)).UnixNano(), Status: 201}
}

func equal(t *testing.T, got []string, want string) {
	t.Helper()
	text, want := strings.Trim(strings.Join(got, "\n"), "\n"), strings.Trim(want, "\n")
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestWaits(t *testing.T) {
	w := window{from: zero, bucket: ms(100), n: 5}
	for _, test := range []struct {
		name   string
		writes []load.Write
		want   []time.Duration
	}{
		{"nothing was open", nil, []time.Duration{idle, idle, idle, idle, idle}},
		{"one bucket", []load.Write{wrote(110, 120)}, []time.Duration{idle, ms(10), idle, idle, idle}},
		{"the longest counts", []load.Write{wrote(110, 120), wrote(110, 190)}, []time.Duration{idle, ms(80), idle, idle, idle}},
		{"as wide as it lasted", []load.Write{wrote(150, 350)}, []time.Duration{idle, ms(200), ms(200), ms(200), idle}},
		{"over both edges", []load.Write{wrote(-900, 1100)}, slices.Repeat([]time.Duration{ms(2000)}, 5)},
		{"before and after the window", []load.Write{wrote(-90, -80), wrote(500, 510)}, []time.Duration{idle, idle, idle, idle, idle}},
		{"ends where the window begins", []load.Write{wrote(-50, 20)}, []time.Duration{ms(70), idle, idle, idle, idle}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := waits(test.writes, w); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestDrawWaits(t *testing.T) {
	equal(t, drawWaits([]time.Duration{ms(1), idle, ms(100), ms(200), ms(50), 0}, 4), `
  200 ms │   █
         │   █
  100 ms │  ██
         │▁ ███
       0 └──────`)
	equal(t, drawWaits([]time.Duration{idle, idle}, 2), `
   10 ms │
    5 ms │
       0 └──`)
}

func TestScale(t *testing.T) {
	for most, want := range map[time.Duration]time.Duration{idle: ms(10), ms(10): ms(10), ms(11): ms(20), ms(399): ms(400), ms(401): ms(500), ms(501): ms(1000), ms(12000): ms(20000)} {
		if got := scale(most); got != want {
			t.Errorf("scale(%s) = %s, want %s", most, got, want)
		}
	}
}

func TestAround(t *testing.T) {
	for _, test := range []struct {
		stall, bucket time.Duration
	}{{0, ms(100)}, {ms(300), ms(100)}, {ms(2333), ms(100)}, {10 * time.Second, ms(450)}} {
		w := around(zero, zero.Add(test.stall))
		if w.bucket != test.bucket || w.n != plotColumns {
			t.Errorf("a stall of %s: buckets of %s, want %s", test.stall, w.bucket, test.bucket)
		}
		if first, last := w.column(zero), w.column(zero.Add(test.stall)); first < 20 || first > 25 || last >= w.n-10 {
			t.Errorf("a stall of %s lies from column %d to %d of %d", test.stall, first, last, w.n)
		}
	}
}

func TestDrawMark(t *testing.T) {
	w := window{from: zero, bucket: ms(100), n: 20}
	at := func(n int) time.Time { return zero.Add(ms(n)) }
	for _, test := range []struct {
		name       string
		start, end time.Time
		text, want string
	}{
		{"in one bucket", at(300), at(350), "cut", "             ┴ cut"},
		{"over some", at(300), at(720), "cut", "             ├───┤ cut"},
		{"two", at(300), at(420), "cut", "             ├┤ cut"},
		{"no room on the right", at(1500), at(1800), "writes held", "             writes held ├──┤"},
		{"no room at all", at(100), at(1800), "writes held", "           ├────────────────┤ writes held"},
		{"beyond the window", at(1000), at(9000), "cut", "                cut ├────────┤"},
	} {
		t.Run(test.name, func(t *testing.T) { equal(t, []string{drawMark(w, test.start, test.end, test.text)}, test.want) })
	}
}

func TestDrawSeconds(t *testing.T) {
	equal(t, []string{drawSeconds(window{from: zero.Add(-ms(2300)), bucket: ms(100), n: 70}, zero)},
		"             -2 s                0                   +2 s                +4 s")
	// Labels never run into each other, however long the stall.
	for _, stall := range []time.Duration{0, 3 * time.Second, time.Minute} {
		line := drawSeconds(around(zero, zero.Add(stall)), zero)
		if n := len(strings.Fields(line)); n < 5 || !strings.Contains(line, "  0  ") {
			t.Errorf("stall %s: %q", stall, line)
		}
	}
}

func TestSpread(t *testing.T) {
	writes := []load.Write{wrote(0, 10), wrote(0, 30), wrote(0, 20), wrote(500, 1500)}
	median, most := spread(writes, func(w load.Write) bool { return w.Start < zero.Add(ms(500)).UnixNano() })
	if median != ms(20) || most != ms(30) {
		t.Errorf("median %s, most %s", median, most)
	}
	if median, most = spread(nil, func(load.Write) bool { return true }); median != 0 || most != 0 {
		t.Errorf("of nothing: %s, %s", median, most)
	}
}
