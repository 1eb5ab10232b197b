package repo

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	// rootsUnder holds one small object for each repository, so that they can be listed.
	rootsUnder = "v1/repositories/"
	filesUnder = "v1/files/"

	packsIn   = "packs/"
	treesIn   = "trees/"
	keysIn    = "keys/"
	writersIn = "writers/"
	doomedIn  = "doomed/"
	clockIn   = "clock/"

	keyEnd = ".age"

	// timeForm of fixed width, so that names sort by time.
	timeForm = "20060102T150405.000000Z"
)

var (
	idForm    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	packForm  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	ownerForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$`)
)

// NewID makes the ID of a new repository.
func NewID() string { return random(10) }

// CheckID refuses what can be no repository's ID.
func CheckID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%.80q is no ID of a repository", id)
	}
	return nil
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// TreeName is what a tree's name tells without reading it.
type TreeName struct {
	// Name is all of it: TIME_OWNER_NODE.
	Name string
	// Time its session began.
	Time time.Time
	// Owner is who wrote it: the UID of a Backup.
	Owner string
	// Node is the value of cht.service.
	Node string
}

func treeName(at time.Time, owner, node string) (TreeName, error) {
	return ParseTreeName(at.UTC().Format(timeForm) + "_" + owner + "_" + node)
}

// ParseTreeName takes a tree's name apart.
func ParseTreeName(name string) (TreeName, error) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 || !ownerForm.MatchString(parts[1]) || !ownerForm.MatchString(parts[2]) {
		return TreeName{}, fmt.Errorf("%.300q is no name of a tree: expected TIME_OWNER_NODE", name)
	}
	at, err := time.Parse(timeForm, parts[0])
	if err != nil || at.Format(timeForm) != parts[0] {
		return TreeName{}, fmt.Errorf("%.300q is no name of a tree: it begins with no time", name)
	}
	return TreeName{Name: name, Time: at, Owner: parts[1], Node: parts[2]}, nil
}
