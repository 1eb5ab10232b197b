package ec2

import (
	"regexp"
	"slices"
)

var accountForm = regexp.MustCompile(`^\d{12}$`)

func (c *Cloud) modifySnapshotAttribute(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, s, err := c.named(q)
	if err != nil {
		return err
	}
	if at := q.get("Attribute"); at != "" && at != "createVolumePermission" {
		return fail("InvalidParameterValue", "The attribute %s cannot be modified", at)
	}
	add, remove, err := q.permissions()
	if err != nil {
		return err
	}
	for _, who := range add {
		switch {
		case who == "all" && s.Encrypted:
			return fail("OperationNotPermitted", "Encrypted snapshots can't be shared publicly")
		case who != "all" && !accountForm.MatchString(who):
			return fail("InvalidUserID.Malformed", "Invalid user id: \"%s\"", who)
		case s.Encrypted && s.KMSKeyID == defaultKey(s.Account, s.Region):
			return fail("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
		}
	}
	for _, who := range add {
		if who == "all" {
			s.public = true
		} else if !slices.Contains(s.shared, who) {
			s.shared = append(s.shared, who)
		}
	}
	for _, who := range remove {
		if who == "all" {
			s.public = false
		}
		s.shared = slices.DeleteFunc(s.shared, func(o string) bool { return o == who })
	}
	a.ok()
	return nil
}

// permissions reads both forms of the request: CreateVolumePermission with Add and
// Remove, and OperationType with UserId and UserGroup.
func (q *request) permissions() (add, remove []string, err error) {
	read := func(list string) (who []string) {
		for _, member := range []string{"UserId", "Group"} {
			_ = q.each("CreateVolumePermission."+list, member, func(p string) error { who = append(who, q.get(p+member)); return nil })
		}
		return who
	}
	add, remove = read("Add"), read("Remove")
	named := append(q.list("UserId"), q.list("UserGroup")...)
	switch q.get("OperationType") {
	case "add":
		add = append(add, named...)
	case "remove":
		remove = append(remove, named...)
	case "":
	default:
		return nil, nil, fail("InvalidParameterValue", "Value (%s) for parameter OperationType is invalid.", q.get("OperationType"))
	}
	if len(add)+len(remove) == 0 {
		return nil, nil, fail("InvalidParameterCombination", "No attributes specified.")
	}
	return add, remove, nil
}

func (c *Cloud) describeSnapshotAttribute(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, s, err := c.named(q)
	if err != nil {
		return err
	}
	a.text("snapshotId", id)
	if q.get("Attribute") == "productCodes" {
		list(a, "productCodes", []string(nil), func(string) {})
		return nil
	}
	who := slices.Clone(s.shared)
	if s.public {
		who = append(who, "all")
	}
	list(a, "createVolumePermission", who, func(w string) {
		if w == "all" {
			a.text("group", w)
			return
		}
		a.text("userId", w)
	})
	return nil
}
