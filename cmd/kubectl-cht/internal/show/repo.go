package show

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
)

// RepositoryTable draws the repositories of files in a catalog.
func RepositoryTable(all []offsite.Repository, now time.Time) *metav1.Table {
	t := &metav1.Table{}
	for _, name := range []string{"Repository", "Namespaces", "Backups", "Trees", "Newest", "Age", "Stored", "Key"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, r := range all {
		newest, old := none, none
		if r.Newest != nil {
			newest, old = moment(*r.Newest), age(*r.Newest, now)
		}
		key := "in its cluster alone"
		if r.SealedKeys > 0 {
			key = "sealed"
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{r.ID, orNone(strings.Join(r.Namespaces, ",")), fmt.Sprint(r.Backups), fmt.Sprint(r.Trees), newest, old, bytes(r.StoredBytes), key}})
	}
	return t
}

// RepositoryCheck tells what a check has found.
func RepositoryCheck(c offsite.RepositoryCheck) []string {
	what := "trees, and the packs' lists of chunks"
	if c.ReadData {
		what = "trees, and every chunk"
	}
	lines := columns("", [][]string{
		{"Repository:", c.ID}, {"Compared:", what},
		{"Trees:", fmt.Sprint(c.Trees)}, {"Chunks:", fmt.Sprint(c.Chunks)}, {"Packs:", fmt.Sprintf("%d, %s", c.Packs, bytes(c.Bytes))},
		{"Unused:", fmt.Sprintf("%d packs, %s (being written, or waiting to be deleted)", c.Unused, bytes(c.UnusedBytes))},
		{"Damaged:", damaged(len(c.Damaged))},
	})
	for _, d := range c.Damaged {
		lines = append(lines, "", "object "+oneLine(d.Object)+": "+oneLine(d.Reason))
		for _, t := range d.Trees {
			lines = append(lines, "  backup "+oneLine(t.Backup)+", node "+oneLine(t.Node)+": cannot be restored as a whole (tree "+oneLine(t.Name)+")")
		}
		for _, f := range d.Files {
			lines = append(lines, "  file "+oneLine(f))
		}
		if strings.Contains(d.Object, "/packs/") {
			lines = append(lines, "  next: delete the object, and the next backup sends what was in it again, as far as CouchDB still has it")
		} else {
			lines = append(lines, "  next: restore another backup; while the object is there, nothing is deleted from the repository. Delete it if the backup is given up")
		}
	}
	return lines
}

func damaged(n int) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}
