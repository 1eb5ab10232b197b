package node

import (
	"errors"
	"fmt"
	"time"
)

// Left tells what lies on the volume and is not copied.
type Left struct {
	// Count of files and folders that no rule speaks of. What CouchDB makes anew
	// (unfinished compactions, deleted files, search indexes) is not counted.
	Count int `json:"count,omitempty"`
	// Names of the first few, as paths of a tree.
	Names []string `json:"names,omitempty"`
}

// mostNames is how many of them are named.
const mostNames = 10

func (l *Left) add(name string) {
	l.Count++
	if len(l.Names) < mostNames {
		l.Names = append(l.Names, name)
	}
}

// Survey is what Prepare found.
type Survey struct {
	Files       int `json:"files"`
	Directories int `json:"directories"`
	// Size of the files in bytes.
	Size int64 `json:"size"`
	// Free bytes of the volume's file system, of Capacity.
	Free     int64 `json:"free"`
	Capacity int64 `json:"capacity"`
	// Descriptors is how many files this process may have open.
	Descriptors uint64 `json:"descriptors"`
	Left        Left   `json:"left"`
	// Took is how long it took; a second Prepare tells about how long Measure will.
	Took time.Duration `json:"took"`
}

// Measured is what Measure found: one cut of one node.
type Measured struct {
	// Cut names it: another Measure makes another one.
	Cut string `json:"cut"`
	// At is when it began, by the machine's clock.
	At time.Time `json:"at"`
	// Took is how long it took.
	Took  time.Duration `json:"took"`
	Files int           `json:"files"`
	Size  int64         `json:"size"`
	Left  Left          `json:"left"`
}

// State tells who comes later, or again, how far it is.
type State struct {
	// Measured is the cut whose files are held; nil before Measure.
	Measured *Measured `json:"measured,omitempty"`
	// Failed tells why its files are not held any more; "" while they are.
	Failed string `json:"failed,omitempty"`
}

// ErrNotMeasured is the error of a source whose cut was not made, or is another one now.
var ErrNotMeasured = errors.New("the files were not measured")

// ErrLetGo is the error of a file that is not held any more: its node needed the space.
var ErrLetGo = errors.New("the files were let go")

// ErrNoSpace is the error of a volume that is too full, to be copied or to be filled.
var ErrNoSpace = errors.New("not enough free space")

// ErrTooManyFiles is the error of a limit of open files that is below what the node has.
var ErrTooManyFiles = errors.New("more files than this process may have open")

// gib tells a size to people.
func gib(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
}
