package main

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"time"
)

// clock is the time that all parts of the test go by, in a file: its distance from the
// machine's.
type clock struct {
	file  *os.File
	ahead atomic.Int64
}

func newClock(file string) (*clock, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	c := &clock{file: f}
	return c, c.set(time.Now())
}

// set has it show a time; it goes on from there.
func (c *clock) set(at time.Time) error {
	ahead := at.Sub(time.Now().Round(0))
	if _, err := c.file.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(ahead)), 0); err != nil { //nolint:gosec // read as it is written
		return err
	}
	c.ahead.Store(int64(ahead))
	return nil
}

func (c *clock) now() time.Time { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }
