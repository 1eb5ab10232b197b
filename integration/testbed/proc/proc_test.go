package proc

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200"
	for line, want := range map[string]stat{
		"12 (plain) S" + tail:         {start: 987654},
		"12 (a) b (c)) Z" + tail:      {start: 987654, dead: true},
		"12 (kworker/0:1 x) R" + tail: {start: 987654},
	} {
		if got, err := parseStat(line); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
		}
	}
	if _, err := parseStat("12 (cut) S 1 2"); err == nil {
		t.Error("a line cut short was taken")
	}
}

func table(t *testing.T) *Table {
	return &Table{Dir: t.TempDir(), Logs: t.TempDir()}
}

func TestStartStop(t *testing.T) {
	tab := table(t)
	if err := tab.Start(Spec{Name: "s", Argv: []string{"sleep", "60"}}); err != nil {
		t.Fatal(err)
	}
	first, alive := tab.Alive("s")
	if !alive {
		t.Fatal("not alive after start")
	}
	if err := tab.Start(Spec{Name: "s", Argv: []string{"sleep", "60"}}); err != nil {
		t.Fatal(err)
	}
	if again, _ := tab.Alive("s"); again.PID != first.PID {
		t.Errorf("a second start made a second process: %d, %d", first.PID, again.PID)
	}
	if _, err := tab.Signal("s", unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if tab.Wait("s", 50*time.Millisecond) {
		t.Error("a stopped process counts as ended")
	}
	if err := tab.Stop("s", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, alive := tab.Alive("s"); alive {
		t.Error("alive after stop")
	}
	if names, _ := tab.Names(); len(names) != 0 {
		t.Errorf("records left: %v", names)
	}
}

func TestReusedPIDIsLeftAlone(t *testing.T) {
	tab := table(t)
	if err := tab.Start(Spec{Name: "s", Argv: []string{"sleep", "60"}}); err != nil {
		t.Fatal(err)
	}
	r, _ := tab.Get("s")
	foreign := r
	foreign.StartTime++
	data, err := json.Marshal(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tab.file("foreign"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tab.Stop("foreign", time.Second); err != nil {
		t.Fatal(err)
	}
	if _, alive := tab.Alive("s"); !alive {
		t.Error("stopped a process whose start time differs")
	}
	if err := tab.Stop("s", time.Second); err != nil {
		t.Fatal(err)
	}
}
