package catalog

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// composeEnd ends the namespace that a record of a Compose project has. A namespace of
// Kubernetes holds no dot, so that the two never meet.
const composeEnd = ".compose"

// Compose is the Docker Compose project that was backed up. Its files are Secrets among
// the record's objects: they are sealed as a whole.
type Compose struct {
	// Project is Compose's name of it, Dir where it lay, Host the machine.
	Project string `json:"project"`
	Dir     string `json:"dir"`
	Host    string `json:"host"`
	// Files are its files, in their order.
	Files []ComposeFile `json:"files,omitempty"`
	// Nodes are the CouchDB services.
	Nodes []ComposeNode `json:"nodes"`
}

// ComposeFile is one file of a project and the Secret that holds it.
type ComposeFile struct {
	// Path below the project's directory. For Certificates it is the file's name alone.
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	// Secret and Key name its content.
	Secret string `json:"secret"`
	Key    string `json:"key"`
}

// ComposeNode is one CouchDB service.
type ComposeNode struct {
	// Node is the record's, Service what Compose calls it.
	Node    string `json:"node"`
	Service string `json:"service"`
	// Data and Config are where its files lay on the host; "" where nothing says it.
	Data   string `json:"data,omitempty"`
	Config string `json:"config,omitempty"`
}

// Secrets that hold a project's files.
const (
	ComposeFilesSecret        = "compose-files"
	ComposeCertificatesSecret = "compose-certificates"
)

// ComposeNamespace is the namespace in the records of a Compose project: of the name
// that it is given, or of the project's.
func ComposeNamespace(name string) (string, error) {
	namespace := strings.Trim(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "-") + composeEnd
	if err := CheckIdentity(namespace, "any", "any"); err != nil {
		return "", fmt.Errorf("%q makes no name for its backups; give another with --instance: %w", clip(name), err)
	}
	return namespace, nil
}

// IsComposeNamespace tells whether the records of a namespace are those of a Compose
// project.
func IsComposeNamespace(namespace string) bool { return strings.HasSuffix(namespace, composeEnd) }

func (r Record) checkCompose() error {
	c := r.Compose
	if (c != nil) != IsComposeNamespace(r.Namespace) {
		return fmt.Errorf("namespace %q does not go with what it is of", clip(r.Namespace))
	}
	if c == nil {
		return nil
	}
	if len(c.Files) > maxImages || len(c.Nodes) != len(r.Nodes) {
		return errors.New("a number in it cannot be")
	}
	for what, text := range map[string]string{"project": c.Project, "dir": c.Dir, "host": c.Host} {
		if err := checkText(what, text, maxText); err != nil {
			return err
		}
	}
	for _, f := range c.Files {
		// It is written below a directory of the operator's.
		if f.Path == "" || f.Path == "." || path.Clean(f.Path) != f.Path || path.IsAbs(f.Path) || strings.HasPrefix(f.Path, "..") || checkText("", f.Path, maxText) != nil || strings.Contains(f.Path, "\\") {
			return fmt.Errorf("file %q is not within the project", clip(f.Path))
		}
		if f.Mode > 0o777 || f.Secret != ComposeFilesSecret && f.Secret != ComposeCertificatesSecret || len(validation.IsConfigMapKey(f.Key)) > 0 {
			return fmt.Errorf("file %q: its mode or its Secret cannot be", clip(f.Path))
		}
	}
	for i, n := range c.Nodes {
		if n.Node != r.Nodes[i].Service {
			return fmt.Errorf("node %q is not the record's", clip(n.Node))
		}
		for what, text := range map[string]string{"service": n.Service, "data": n.Data, "config": n.Config} {
			if err := checkText(what, text, maxText); err != nil {
				return err
			}
		}
	}
	return nil
}
