package show

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// widestReason is what a table shows of why a backup is broken.
const widestReason = 60

// CatalogTable draws what is kept outside the cluster. State tells of broken ones as
// far as was read; the columns of wide need the manifests.
func CatalogTable(l offsite.Listing, now time.Time) *metav1.Table {
	t := &metav1.Table{}
	for _, name := range []string{"Namespace", "Name", "Cut", "Age", "State"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range []string{"Consistency", "Nodes", "Size", "Documents", "Method", "Region", "Secrets", "Chart", "Cluster", "UID"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	for _, b := range l.Backups {
		state := "kept"
		if len(b.Broken) > 0 {
			state = "broken: " + clip(oneLine(b.Broken[0]), widestReason)
			if more := len(b.Broken) - 1; more > 0 {
				state += fmt.Sprintf(" (and %d more)", more)
			}
		}
		if b.Copy != "" {
			state += ", copy " + b.Copy
		}
		nodes, size, documents := none, none, none
		if b.Nodes > 0 {
			nodes = fmt.Sprint(b.Nodes)
		}
		if b.CapacityBytes > 0 {
			size = bytes(b.CapacityBytes)
		}
		if b.Databases > 0 {
			documents = fmt.Sprint(b.Documents)
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{b.Namespace, b.Name, moment(b.CutTime), age(b.CutTime, now), state,
			orNone(b.Consistency), nodes, size, documents, orNone(strings.Join(b.Methods, ",")), orNone(strings.Join(b.Regions, ",")), orNone(b.Secrets), orNone(oneLine(b.Chart)), orNone(oneLine(b.Cluster)), b.UID}})
	}
	return t
}

// CatalogRecord tells all that is known of one record of a catalog. opened tells that
// its Secrets were opened here.
func CatalogRecord(url string, m bucket.Manifest, record catalog.Record, copies []bucket.Copy, opened bool) []string {
	rows := [][]string{
		{"Catalog:", url}, {"Key:", m.Head().Key()}, {"Cluster:", orNone(m.Cluster)}, {"Namespace:", m.Namespace}, {"Name:", m.Name}, {"UID:", string(m.UID)},
		{"Cut:", moment(m.CutTime)}, {"Consistency:", string(m.Consistency)}, {"CouchDB:", orNone(m.CouchDB)}, {"Written by:", "cht-backup " + orNone(m.Program)},
	}
	if r := m.Release; r != nil {
		rows = append(rows, []string{"Helm release:", fmt.Sprintf("%s, chart %s, application %s, revision %d", r.Name, offsite.Chart(m), orNone(r.AppVersion), r.Revision)})
	}
	rows = append(rows, []string{"Databases:", fmt.Sprintf("%d with %d documents, and %d deleted ones", m.Databases, m.Documents, m.Deleted)})
	lines := columns("", rows)
	lines = append(lines, section("Volumes", volumeLines(record.Nodes))...)
	lines = append(lines, section("Copies", notedCopies(copies))...)
	lines = append(lines, section("Databases", databaseLines(record))...)
	lines = append(lines, section("Images", imageLines(m.Images))...)
	lines = append(lines, section("Objects", objectLines(record))...)
	return append(lines, section("Secrets", secretLines(m.Secrets, opened))...)
}

func volumeLines(nodes []catalog.Node) []string {
	var rows [][]string
	for _, n := range nodes {
		method := orNone(string(n.Method))
		if n.Method == "" {
			method = "CSI"
		}
		row := []string{n.Service, n.ErlangName, method, orNone(n.Driver), n.SnapshotHandle, bytes(max(n.CapacityBytes, n.RestoreBytes)), "class " + orNone(n.StorageClass), "claim " + n.Claim}
		if e := n.EBS; e != nil {
			row = append(row, fmt.Sprintf("%s %s %s in %s, account %s", e.VolumeID, e.Type, encrypted(e.Encrypted), strings.Trim(e.Region+" "+e.Zone, " "), orNone(e.Account)))
		}
		rows = append(rows, row)
	}
	return columns("  ", rows)
}

func encrypted(is bool) string {
	if is {
		return "encrypted"
	}
	return "not encrypted"
}

func notedCopies(copies []bucket.Copy) []string {
	var rows [][]string
	for _, c := range copies {
		var handles []string
		for _, v := range c.Volumes {
			handles = append(handles, v.Node+" "+v.Handle)
		}
		rows = append(rows, []string{c.Name, c.Region, "account " + orNone(c.Account), "complete since " + moment(c.CompletionTime), strings.Join(handles, ", ")})
	}
	return columns("  ", rows)
}

// mostDatabases are listed; the users' own databases, of which there are thousands,
// come together in one line.
const mostDatabases = 40

func databaseLines(r catalog.Record) []string {
	var rows [][]string
	var names []string
	users, usersDocuments := 0, int64(0)
	for name, c := range r.Before.Counts {
		if strings.HasPrefix(name, "medic-user-") {
			users, usersDocuments = users+1, usersDocuments+c.Documents
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), mostDatabases)] {
		c := r.Before.Counts[name]
		rows = append(rows, []string{name, fmt.Sprintf("%d documents", c.Documents), fmt.Sprintf("%d deleted", c.Deleted)})
	}
	if more := len(names) - mostDatabases; more > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more", more)})
	}
	if users > 0 {
		rows = append(rows, []string{fmt.Sprintf("medic-user-… (%d)", users), fmt.Sprintf("%d documents", usersDocuments)})
	}
	return columns("  ", rows)
}

func imageLines(images []catalog.Image) []string {
	var rows [][]string
	for _, i := range images {
		rows = append(rows, []string{i.Component, i.Container, i.Image})
	}
	return columns("  ", rows)
}

// objectLines names a record's objects, by kind.
func objectLines(r catalog.Record) []string {
	names, kinds := map[string][]string{}, []string(nil)
	for _, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			continue // checked when it was read
		}
		if names[o.Kind] == nil {
			kinds = append(kinds, o.Kind)
		}
		names[o.Kind] = append(names[o.Kind], o.Metadata.Name)
	}
	var rows [][]string
	for _, kind := range kinds {
		rows = append(rows, []string{kind, strings.Join(names[kind], ", ")})
	}
	return columns("  ", rows)
}

func secretLines(s bucket.SecretsSaid, opened bool) []string {
	var lines []string
	switch {
	case len(s.Held) == 0:
		lines = append(lines, "  the instance has none")
	case opened:
		lines = append(lines, "  sealed, and opened by the identity that was given")
	case len(s.Recipients) > 0:
		lines = append(lines, "  sealed to "+strings.Join(s.Recipients, ", ")+"; a restore needs the identity of one of them (--identity)")
	default:
		lines = append(lines, "  left out, since no recipient was configured; a restore needs them from elsewhere (--objects, --credentials-from)")
	}
	var rows [][]string
	for _, h := range s.Held {
		rows = append(rows, []string{h.Kind, h.Name, strings.Join(h.Keys, ", ")})
	}
	return append(lines, columns("  ", rows)...)
}

// TagSet tells all that the tags of a set tell.
func TagSet(s tags.Set) []string {
	state := "whole: it can be restored"
	if !s.Whole() {
		state = "broken: it is not restored"
	}
	lines := columns("", [][]string{
		{"State:", state}, {"Cluster:", s.Cluster}, {"Namespace:", s.Namespace}, {"Name:", s.Backup}, {"UID:", s.UID}, {"Cut:", moment(s.CutTime)},
		{"Attempt:", fmt.Sprint(s.Attempt)}, {"Region:", s.Region}, {"Account:", orNone(s.Account)}, {"Copy:", orNone(s.Copy)}, {"Members:", fmt.Sprintf("%d of %d", len(s.Members), s.Size)},
	})
	var rows [][]string
	for _, m := range s.Members {
		rows = append(rows, []string{m.Node, orNone(m.NodeName), m.Snapshot.ID, m.Snapshot.State, fmt.Sprintf("%d GiB", m.Snapshot.SizeGiB), encrypted(m.Snapshot.Encrypted), "claim " + m.Claim, "data in " + orNone(m.DataSubPath)})
	}
	lines = append(lines, section("Snapshots", columns("  ", rows))...)
	var wrong []string
	for _, reason := range s.Broken {
		wrong = append(wrong, "  "+oneLine(reason))
	}
	return append(lines, section("Broken", wrong)...)
}
