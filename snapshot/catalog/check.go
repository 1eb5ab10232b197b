package catalog

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// What is checked here ends in paths, names and commands of a restore. A record
// that came from a bucket, or from a Secret that somebody else wrote, may say
// anything.

const (
	maxNodes  = 256
	maxImages = 4096
	maxText   = 4096 // bytes of a text that is only shown, or handed on
)

var (
	uidForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)
	erlangForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}@[A-Za-z0-9][A-Za-z0-9_.:-]{0,252}$`)
	fsForm     = regexp.MustCompile(`^[A-Za-z0-9._-]{0,32}$`)
	partForm   = regexp.MustCompile(`^[0-9]{0,4}$`)
)

// CheckIdentity checks whose a record says it is, as it stands in keys and labels.
func CheckIdentity(namespace, name, uid string) error {
	if errs := validation.IsDNS1123Label(strings.TrimSuffix(namespace, composeEnd)); len(errs) > 0 || len(namespace) > validation.DNS1123LabelMaxLength {
		return fmt.Errorf("namespace %q: %s", clip(namespace), append(errs, "it is too long")[0])
	}
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("name %q: %s", clip(name), errs[0])
	}
	if !uidForm.MatchString(uid) {
		return fmt.Errorf("uid %q is none", clip(uid))
	}
	return nil
}

// Check refuses a record that this program cannot have written.
func (r Record) Check() error {
	if err := CheckIdentity(r.Namespace, r.Name, string(r.UID)); err != nil {
		return err
	}
	if y := r.CutTime.UTC().Year(); !r.CutTime.IsZero() && (y < 1970 || y > 9999) {
		return fmt.Errorf("cutTime: the year %d", y)
	}
	if c := r.Consistency; c != "" && c != api.Consistent && c != api.CrashConsistent {
		return fmt.Errorf("consistency %q is none", clip(string(c)))
	}
	if err := checkText("couchdb", r.CouchDB, 128); err != nil {
		return err
	}
	if err := checkText("importedFrom", r.ImportedFrom, 4096); err != nil {
		return err
	}
	members, err := r.checkNodes()
	if err != nil {
		return err
	}
	for what, s := range map[string]Survey{"before": r.Before, "after": r.After} {
		if err := s.check(members); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := r.checkImages(); err != nil {
		return err
	}
	if err := r.checkCompose(); err != nil {
		return fmt.Errorf("compose: %w", err)
	}
	return r.checkObjects()
}

// checkNodes gives the Erlang names.
func (r Record) checkNodes() (members map[string]bool, err error) {
	if len(r.Nodes) > maxNodes {
		return nil, fmt.Errorf("it has %d nodes", len(r.Nodes))
	}
	members, services, claims := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, n := range r.Nodes {
		if err := n.check(); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		if members[n.ErlangName] || services[n.Service] || claims[n.Claim] {
			return nil, fmt.Errorf("node %d: %s, %s or its claim %s is named twice", i, n.Service, n.ErlangName, n.Claim)
		}
		members[n.ErlangName], services[n.Service], claims[n.Claim] = true, true, true
	}
	return members, nil
}

func (n Node) check() error {
	if errs := validation.IsValidLabelValue(n.Service); n.Service == "" || len(errs) > 0 {
		return fmt.Errorf("service %q is no value of a label", clip(n.Service))
	}
	if !erlangForm.MatchString(n.ErlangName) || strings.Contains(n.ErlangName, "..") {
		return fmt.Errorf("erlangName %q is none", clip(n.ErlangName))
	}
	if errs := validation.IsDNS1123Subdomain(n.Claim); len(errs) > 0 {
		return fmt.Errorf("claim %q: %s", clip(n.Claim), errs[0])
	}
	for key, value := range n.ClaimLabels {
		if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0 {
			return fmt.Errorf("claimLabels: %q=%q is no label", clip(key), clip(value))
		}
	}
	for what, name := range map[string]string{"storageClass": n.StorageClass, "snapshotContent": n.SnapshotContent, "driver": strings.ToLower(n.Driver)} {
		if errs := validation.IsDNS1123Subdomain(name); name != "" && len(errs) > 0 {
			return fmt.Errorf("%s %q: %s", what, clip(name), errs[0])
		}
	}
	for what, bytes := range map[string]int64{"capacityBytes": n.CapacityBytes, "restoreBytes": n.RestoreBytes} {
		if bytes < 0 || bytes > math.MaxInt64/4 {
			return fmt.Errorf("%s %d is no size", what, bytes)
		}
	}
	if !fsForm.MatchString(n.FSType) || !partForm.MatchString(n.Partition) {
		return fmt.Errorf("fsType %q or partition %q is none", clip(n.FSType), clip(n.Partition))
	}
	for what, path := range map[string]string{"dataSubPath": n.DataSubPath, "configSubPath": n.ConfigSubPath} {
		if err := checkSubPath(path); err != nil {
			return fmt.Errorf("%s %q %w", what, clip(path), err)
		}
	}
	if m := n.Method; m != "" && m != api.MethodCSI && m != api.MethodEBS && m != api.MethodFile {
		return fmt.Errorf("method %q is not known to this version", clip(string(m)))
	}
	if err := n.checkFile(); err != nil {
		return err
	}
	if err := checkText("snapshotHandle", n.SnapshotHandle, maxText); err != nil {
		return err
	}
	if err := checkCopies(n.Copies); err != nil {
		return err
	}
	return checkEBS(n.EBS)
}

// checkSubPath refuses what could lead out of a volume, or into a command: a subPath
// as Kubernetes takes it, and no more.
func checkSubPath(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > maxText || checkText("", path, maxText) != nil {
		return fmt.Errorf("is no path")
	}
	if strings.HasPrefix(path, "/") {
		return fmt.Errorf("is not within the volume")
	}
	for _, element := range strings.Split(path, "/") {
		if element == ".." {
			return fmt.Errorf("leads out of the volume")
		}
	}
	return nil
}

// checkText refuses what would spoil a terminal, a log or a header.
func checkText(what, text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%s has %d bytes; %d are the most", what, len(text), most)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s %q is no text", what, clip(text))
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("%s %q has a character that cannot be shown", what, clip(text))
		}
	}
	return nil
}

// clip shortens what is quoted in an error.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
