package cluster

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/medic/cht-backup/integration/testbed/mounts"
	"github.com/medic/cht-backup/integration/testbed/proc"
)

// ThawAfterCommand is the command of this program that ArmThaw runs.
const ThawAfterCommand = "thaw-after"

// ArmThaw starts a process of its own session that thaws every volume after a
// time, so that neither the end of the test nor that of the system under test
// takes the thaw with it. It returns the process's pid; its end disarms it.
func (t *Testbed) ArmThaw(after time.Duration) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("thaw-%d", time.Now().UnixNano())
	armed := t.armed()
	if err := armed.Start(proc.Spec{Name: name, Argv: []string{self, ThawAfterCommand, after.String()}, Env: []string{"TESTBED_DIR=" + t.Dir}}); err != nil {
		return 0, fmt.Errorf("arm a thaw: %w", err)
	}
	r, _ := armed.Get(name)
	return r.PID, nil
}

// armed keeps the records of armed thaws, so that none outlives its cluster and
// thaws what a test of the next one froze.
func (t *Testbed) armed() *proc.Table {
	return &proc.Table{Dir: t.path("thaws"), Logs: t.path("thaws")}
}

func (t *Testbed) disarmAll() error {
	names, err := t.armed().Names()
	for _, name := range names {
		err = errors.Join(err, t.armed().Stop(name, 0))
	}
	return err
}

// ThawAfter waits and thaws: for once the passing of time is what is waited for.
func (t *Testbed) ThawAfter(d time.Duration) error {
	time.Sleep(d)
	_, err := mounts.ThawUnder(t.Dir)
	return err
}
