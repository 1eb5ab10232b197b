package ec2

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong with calls. All that are set must fit.
type Fault struct {
	// Action, Account and Region it is for; empty for all.
	Action  string `json:"action,omitempty"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// With is a text that one of the call's parameters must have, for example a
	// volume's id.
	With string `json:"with,omitempty"`
	// Skip lets that many calls pass first; Times is how many it hits, 0 for all.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	// Delay is added to the call: half of it before the work is done, half after.
	Delay Span `json:"delay"`
	// Error answers with one instead of doing the work.
	Error *Failure `json:"error,omitempty"`
	// Hang gives no answer and does no work until the client goes away.
	Hang bool `json:"hang,omitempty"`
	// Lose does the work and breaks the connection.
	Lose bool `json:"lose,omitempty"`
	// Ends says how the snapshot, copy or volume that the call makes ends: error, or
	// never.
	Ends string `json:"ends,omitempty"`

	hits int
}

// AddFault makes calls go wrong from now on.
func (c *Cloud) AddFault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
}

// ClearFaults ends all faults.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// hit is what a call meets.
type hit struct {
	delay      time.Duration
	err        *Failure
	hang, lose bool
	ends       string
}

func (f *Fault) fits(q *request) bool {
	if (f.Action != "" && f.Action != q.action) || (f.Account != "" && f.Account != q.who.account) || (f.Region != "" && f.Region != q.region.name) {
		return false
	}
	if f.With == "" {
		return true
	}
	for _, values := range q.form {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, f.With) }) {
			return true
		}
	}
	return false
}

// meet counts a call against the faults.
func (c *Cloud) meet(q *request) (h hit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = slices.DeleteFunc(c.faults, func(f *Fault) bool {
		if !f.fits(q) {
			return false
		}
		if f.hits++; f.hits <= f.Skip {
			return false
		}
		h.delay += f.Delay.pick(c.rand)
		h.hang, h.lose = h.hang || f.Hang, h.lose || f.Lose
		if f.Error != nil && h.err == nil {
			h.err = fail(f.Error.Code, "%s", f.Error.Message)
			if f.Error.Status != 0 {
				h.err.Status = f.Error.Status
			}
		}
		if f.Ends != "" {
			h.ends = f.Ends
		}
		return f.Times > 0 && f.hits >= f.Skip+f.Times
	})
	return h
}

// before is what a fault does before the work.
func (h hit) before(ctx context.Context) error {
	if h.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return sleep(ctx, h.delay/2)
}
