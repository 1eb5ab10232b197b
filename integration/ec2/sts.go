package ec2

import (
	"fmt"
	"regexp"
	"time"
)

var roleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([^/]+)$`)

func (c *Cloud) getCallerIdentity(q *request, a *answer) error {
	a.text("Arn", q.who.arn)
	a.text("UserId", q.who.id)
	a.text("Account", q.who.account)
	return nil
}

// assumeRole gives keys of the role's account. Whether the role trusts the caller is
// a matter of faults: every role exists.
func (c *Cloud) assumeRole(q *request, a *answer) error {
	m := roleForm.FindStringSubmatch(q.get("RoleArn"))
	if m == nil {
		return fail("ValidationError", "%s is invalid", q.get("RoleArn"))
	}
	session, err := q.must("RoleSessionName")
	if err != nil {
		return fail("ValidationError", "RoleSessionName is missing")
	}
	seconds, err := q.number("DurationSeconds", 900, 43200)
	if err != nil {
		return fail("ValidationError", "DurationSeconds must lie between 900 and 43200")
	}
	if seconds == 0 {
		seconds = 3600
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprintf("ASIA%016X", c.rand.Uint64())
	who := identity{
		account: m[1], id: "AROA" + m[1] + ":" + session,
		arn: fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", m[1], m[2], session),
	}
	c.keys[key] = who
	a.in("AssumedRoleUser", func() { a.text("Arn", who.arn); a.text("AssumedRoleId", who.id) })
	a.in("Credentials", func() {
		a.text("AccessKeyId", key)
		a.text("SecretAccessKey", fmt.Sprintf("%040x", c.rand.Uint64()))
		a.text("SessionToken", fmt.Sprintf("%032x", c.rand.Uint64()))
		a.time("Expiration", c.time().Add(time.Duration(seconds)*time.Second))
	})
	return nil
}
