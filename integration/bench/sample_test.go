package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht/load"
)

var zero = time.Unix(1000, 0)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestPartsOfTheStall(t *testing.T) {
	together := sample{way: "Freeze", start: at(0), quiesced: at(20), cut: at(120), released: at(130)}
	bare := sample{way: wayNone, start: at(0), quiesced: at(0), cut: at(90), released: at(90)}
	series := sample{way: waySeries, start: at(0), released: at(1300), holds: []hold{
		{start: at(0), held: at(10), named: at(110), ready: at(500), released: at(510)},
		{start: at(520), held: at(550), named: at(700), ready: at(1280), released: at(1300)},
	}}
	for _, c := range []struct {
		name                                                      string
		s                                                         sample
		quiesce, cut, release, stall, longest, overhead, handleTo int
	}{
		{"all nodes together", together, 20, 100, 10, 130, 130, 30, 130},
		{"nothing held", bare, 0, 90, 0, 90, 0, 0, 90},
		{"one after the other", series, 40, 1220, 30, 1300, 780, 80, 330},
	} {
		got := []time.Duration{c.s.quiesceTime(), c.s.cutTime(), c.s.releaseTime(), c.s.stall(), c.s.longestHold(), c.s.overhead(), c.s.shortSeries()}
		want := []time.Duration{ms(c.quiesce), ms(c.cut), ms(c.release), ms(c.stall), ms(c.longest), ms(c.overhead), ms(c.handleTo)}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

func write(from, to, status int) load.Write {
	return load.Write{Start: at(from).UnixNano(), End: at(to).UnixNano(), Status: status}
}

func TestWhatTheWriterSaw(t *testing.T) {
	good := sample{way: "Pause", began: at(0), start: at(1000), released: at(1300), done: at(5000)}
	broken := sample{way: "Pause", began: at(0), done: at(5000), err: errors.New("no")}
	for _, c := range []struct {
		name   string
		s      sample
		writes []load.Write
		want   view
	}{
		{"nobody wrote", good, nil, view{}},
		{"before the stall, slow for another reason", good, []load.Write{write(200, 999, 201)}, view{}},
		{"held by the stall", good, []load.Write{write(990, 1310, 201), write(1100, 1305, 201)}, view{writes: 2, slowest: ms(320)}},
		{"soon after it", good, []load.Write{write(2200, 2900, 201)}, view{writes: 1, slowest: ms(700)}},
		{"long after it", good, []load.Write{write(2301, 4000, 201)}, view{}},
		{"failed while it was prepared", good, []load.Write{write(100, 120, 503)}, view{failed: 1}},
		{"failed in another sample", good, []load.Write{write(5001, 5002, 503)}, view{}},
		{"no answer, in the stall", good, []load.Write{write(1000, 1500, 0)}, view{writes: 1, slowest: ms(500), failed: 1}},
		{"a backup that failed counts from end to end", broken, []load.Write{write(10, 60, 201), write(4000, 4400, 500)}, view{writes: 2, slowest: ms(400), failed: 1}},
	} {
		if got := see(c.s, c.writes); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWritesBetweenSamples(t *testing.T) {
	samples := []sample{{began: at(100), done: at(200)}, {began: at(300), done: at(400)}}
	writes := []load.Write{write(10, 20, 201), write(90, 110, 201), write(210, 250, 201), write(260, 270, 503), write(350, 360, 503), write(390, 500, 201)}
	latencies, failed := between(samples, writes)
	if !slices.Equal(latencies, []float64{10, 40}) || failed != 1 {
		t.Errorf("%v, %d failed", latencies, failed)
	}
}
