package ec2

import (
	"slices"
	"time"
)

// Call is one that was made.
type Call struct {
	Time    time.Time `json:"time"`
	Account string    `json:"account"`
	Region  string    `json:"region"`
	// Action as a permission: ec2:CreateSnapshot.
	Action string `json:"action"`
	// Code of the error it was answered with.
	Code string `json:"code,omitempty"`
	// Needs are the permissions it took.
	Needs     []string `json:"needs,omitempty"`
	RequestID string   `json:"requestID"`
	// Lost: the work was done, the answer was not given.
	Lost bool `json:"lost,omitempty"`
}

// Count is what calls are counted by.
type Count struct{ Account, Region, Action, Code string }

type callLog struct {
	most   int
	calls  []Call
	counts map[Count]int
	extra  map[string][]string // permissions needed beside, by request
}

func (l *callLog) need(q *request, permission string) {
	if l.extra == nil {
		l.extra = map[string][]string{}
	}
	l.extra[q.id] = append(l.extra[q.id], permission)
}

func (l *callLog) add(call Call) {
	call.Needs = append(call.Needs, l.extra[call.RequestID]...)
	delete(l.extra, call.RequestID)
	l.counts[Count{call.Account, call.Region, call.Action, call.Code}]++
	if len(l.calls) >= 2*l.most {
		l.calls = slices.Clone(l.calls[len(l.calls)-l.most:])
	}
	l.calls = append(l.calls, call)
}

// Calls are the last ones, oldest first.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log.calls)
}

// Counts are all since the start, or since ForgetCalls.
func (c *Cloud) Counts() map[Count]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make(map[Count]int, len(c.log.counts))
	for k, n := range c.log.counts {
		counts[k] = n
	}
	return counts
}

// Needed are the permissions that an account's remembered calls took, sorted.
func (c *Cloud) Needed(account string) (permissions []string) {
	for _, call := range c.Calls() {
		if call.Account == account {
			permissions = append(permissions, call.Needs...)
		}
	}
	slices.Sort(permissions)
	return slices.Compact(permissions)
}

// ForgetCalls empties the log.
func (c *Cloud) ForgetCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.calls, c.log.counts = nil, map[Count]int{}
}
