package catalog

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var (
	repositoryForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	treeForm       = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{6}Z_[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?_[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$`)
)

// IsRepository tells whether a text can be the ID of a repository of files.
func IsRepository(text string) bool { return repositoryForm.MatchString(text) }

// IsTree tells whether a text can be the name of a tree in a repository.
func IsTree(text string) bool { return treeForm.MatchString(text) }

// maxDropped files are named in a record: 10, and how many more there are.
const maxDropped = 11

// checkFile checks where a node's files are: both names end in keys of the bucket.
func (n Node) checkFile() error {
	f := n.File
	if f == nil {
		if n.Method == api.MethodFile {
			return fmt.Errorf("method File, and it does not say where the files are")
		}
		return nil
	}
	switch {
	case !IsRepository(f.Repository):
		return fmt.Errorf("file: repository %q is none", clip(f.Repository))
	case f.Tree == "" && f.Complete, f.Tree != "" && !IsTree(f.Tree):
		return fmt.Errorf("file: tree %q is none", clip(f.Tree))
	case f.Files < 0 || len(f.Dropped) > maxDropped:
		return fmt.Errorf("file: a number in it cannot be")
	}
	for what, q := range map[string]*resource.Quantity{"size": f.Size, "sent": f.Sent} {
		if q != nil && q.Sign() < 0 {
			return fmt.Errorf("file: %s is no size", what)
		}
	}
	for _, d := range f.Dropped {
		if err := checkText("file: dropped", d, maxText); err != nil {
			return err
		}
	}
	return nil
}
