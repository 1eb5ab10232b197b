package command

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Bounds of manifests, in bytes.
const (
	maxManifests = 32 << 20
	maxManifest  = 4 << 20
)

// readObjects reads the manifests in a file or below a directory, such as the output
// of `helm template`, as objects of a backup of that namespace. skipped are those that
// no restore applies, as KIND/NAME. No error repeats what stands in them: there are
// Secrets among them.
func readObjects(path, namespace string) (objects []json.RawMessage, skipped []string, err error) {
	var files []string
	err = filepath.WalkDir(filepath.Clean(path), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && (file == filepath.Clean(path) || slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file))) {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		return nil, nil, exit.Errorf(exit.Usage, "--objects: %w; give a file with manifests, or a directory of them", err)
	}
	left := int64(maxManifests)
	for _, file := range files {
		text, err := readBounded(file, left)
		if err != nil {
			return nil, nil, exit.Errorf(exit.Usage, "--objects: %w", err)
		}
		left -= int64(len(text))
		own, others, err := parseObjects(text, namespace)
		if err != nil {
			return nil, nil, exit.Errorf(exit.Usage, "--objects: %s: %w", file, err)
		}
		objects, skipped = append(objects, own...), append(skipped, others...)
	}
	if len(objects) == 0 {
		return nil, nil, exit.Errorf(exit.Usage, "--objects: there is no manifest of a CHT's object in %s; give those that `helm template` writes, or `kubectl get -o yaml`", path)
	}
	return objects, skipped, nil
}

func readBounded(file string, left int64) ([]byte, error) {
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, left+1))
	if err == nil && int64(len(text)) > left {
		err = fmt.Errorf("%s: there are more than %d MiB of manifests", file, maxManifests>>20)
	}
	return text, err
}

var errYAML = errors.New("it is no YAML")

func parseObjects(text []byte, namespace string) (objects []json.RawMessage, skipped []string, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, skipped, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", n, errYAML)
		}
		if len(document) > maxManifest {
			return nil, nil, fmt.Errorf("document %d has more than %d MiB, which Kubernetes would not take", n, maxManifest>>20)
		}
		var plain any
		if err := yaml.Unmarshal(document, &plain); err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", n, errYAML)
		}
		if plain == nil {
			continue // a comment
		}
		o, is := plain.(map[string]any)
		if !is {
			return nil, nil, fmt.Errorf("document %d is no object of Kubernetes", n)
		}
		own, others, err := ownObjects(o, namespace)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", n, err)
		}
		objects, skipped = append(objects, own...), append(skipped, others...)
	}
}

// ownObjects takes one object, or the items of a list.
func ownObjects(plain map[string]any, namespace string) (objects []json.RawMessage, skipped []string, err error) {
	if items, is := plain["items"].([]any); is && strings.HasSuffix(fmt.Sprint(plain["kind"]), "List") {
		for _, item := range items {
			o, is := item.(map[string]any)
			if !is {
				return nil, nil, errors.New("an item of its list is no object")
			}
			own, others, err := ownObjects(o, namespace)
			if err != nil {
				return nil, nil, err
			}
			objects, skipped = append(objects, own...), append(skipped, others...)
		}
		return objects, skipped, nil
	}
	o := &unstructured.Unstructured{Object: plain}
	name := o.GetKind() + "/" + o.GetName()
	if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
		return nil, nil, errors.New("it has no apiVersion, kind or metadata.name")
	}
	own, is := cht.Own(o)
	if !is {
		return nil, []string{name}, nil
	}
	if in := own.GetNamespace(); in != "" && in != namespace {
		return nil, nil, fmt.Errorf("%s is of namespace %s, and the backup of %s; make the manifests for that one (`helm template -n %s`)", name, in, namespace, namespace)
	}
	own.SetNamespace(namespace)
	if own.GetKind() == "Secret" {
		if err := foldStringData(own); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	raw, err := own.MarshalJSON()
	if err != nil {
		return nil, nil, fmt.Errorf("%s cannot be encoded", name)
	}
	return []json.RawMessage{bytes.TrimSpace(raw)}, nil, nil
}

// foldStringData writes a Secret's stringData into its data, as the API server does.
func foldStringData(o *unstructured.Unstructured) error {
	plain, found, err := unstructured.NestedStringMap(o.Object, "stringData")
	if err != nil {
		return errors.New("its stringData holds more than texts")
	}
	if !found {
		return nil
	}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return errors.New("its data holds more than texts")
	}
	if data == nil {
		data = map[string]string{}
	}
	for k, v := range plain {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	unstructured.RemoveNestedField(o.Object, "stringData")
	return unstructured.SetNestedStringMap(o.Object, data, "data")
}
