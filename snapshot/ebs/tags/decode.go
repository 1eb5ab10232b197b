package tags

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// largestSet bounds what a tag may claim.
const largestSet = 64

var (
	uidForm       = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{0,63}$`)
	labelForm     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	subdomainForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	clusterForm   = regexp.MustCompile(`^[0-9A-Za-z]([-0-9A-Za-z._]{0,126}[0-9A-Za-z])?$`)
	nodeForm      = regexp.MustCompile(`^couchdb(-[1-9][0-9]{0,2})?$`)
	nodeNameForm  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}@[0-9A-Za-z.:-]{1,190}$`)
	fsTypeForm    = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	partitionForm = regexp.MustCompile(`^[0-9]{1,3}$`)
	countForm     = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)
)

// decodeCommon reads what identifies a set. Without that, a snapshot belongs to none.
func decodeCommon(t map[string]string) (Common, error) {
	c := Common{UID: t[BackupUID], Backup: t[Backup], Namespace: t[Namespace], Cluster: t[Cluster], Copy: t[Copy]}
	for _, check := range []struct {
		key  string
		form *regexp.Regexp
	}{{BackupUID, uidForm}, {Backup, subdomainForm}, {Namespace, labelForm}, {Cluster, clusterForm}, {SetSize, countForm}, {Attempt, countForm}} {
		if !check.form.MatchString(t[check.key]) {
			return c, fmt.Errorf("tag %s is %s", check.key, quote(t, check.key))
		}
	}
	if c.Copy != "" && !labelForm.MatchString(c.Copy) {
		return c, fmt.Errorf("tag %s is %s", Copy, quote(t, Copy))
	}
	if c.Size, _ = strconv.Atoi(t[SetSize]); c.Size > largestSet { // the form is that of a number
		return c, fmt.Errorf("tag %s is %d; a set has at most %d members", SetSize, c.Size, largestSet)
	}
	attempt, _ := strconv.Atoi(t[Attempt])
	c.Attempt = int32(attempt) //nolint:gosec // of four digits
	var err error
	if c.CutTime, err = time.Parse(timeFormat, t[CutTime]); err != nil {
		return c, fmt.Errorf("tag %s is %s", CutTime, quote(t, CutTime))
	}
	return c, nil
}

// decodeMember reads what a member says of its node.
func decodeMember(t map[string]string) (Member, error) {
	m := Member{Node: t[Node], NodeName: t[NodeName], Claim: t[Claim], FSType: t[FSType], Partition: t[Partition]}
	for _, check := range []struct {
		key      string
		form     *regexp.Regexp
		optional bool
	}{{Node, nodeForm, false}, {Claim, subdomainForm, false}, {NodeName, nodeNameForm, true}, {FSType, fsTypeForm, true}, {Partition, partitionForm, true}} {
		if value := t[check.key]; (!check.optional || value != "") && !check.form.MatchString(value) {
			return m, fmt.Errorf("tag %s is %s", check.key, quote(t, check.key))
		}
	}
	var set bool
	if m.DataSubPath, set = t[DataSubPath]; !set || !subPath(m.DataSubPath) {
		return m, fmt.Errorf("tag %s is %s", DataSubPath, quote(t, DataSubPath))
	}
	if m.ConfigSubPath, m.ConfigOnVolume = t[ConfigSubPath]; !subPath(m.ConfigSubPath) {
		return m, fmt.Errorf("tag %s is %s", ConfigSubPath, quote(t, ConfigSubPath))
	}
	return m, nil
}

// subPath tells whether a path stays on its volume.
func subPath(p string) bool {
	if len(p) > 4*longest || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) || path.IsAbs(p) {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return false
		}
	}
	return true
}

// quote shows a tag's value to a person, as long as it is bearable.
func quote(t map[string]string, key string) string {
	value, set := t[key]
	if !set {
		return "missing"
	}
	if len(value) > 80 {
		return strconv.Quote(strings.ToValidUTF8(value[:80], "")) + "…, which it cannot be"
	}
	return strconv.Quote(value) + ", which it cannot be"
}
