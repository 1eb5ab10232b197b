package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// named is an archive whose images have full names: the one member that says
// them, rewritten where it left a name out or cut it short.
type named struct {
	Names  []string
	member string // the path of that member
	data   []byte
}

// inspect reads the names in an archive. What has no name is called after the file.
func inspect(file string) (named, error) {
	fallback := strings.ToLower(strings.SplitN(filepath.Base(file), ".", 2)[0])
	found := map[string][]byte{}
	err := eachMember(file, func(h *tar.Header, content io.Reader) error {
		name := strings.TrimPrefix(h.Name, "./")
		if name != "index.json" && name != "manifest.json" {
			return nil
		}
		data, err := io.ReadAll(io.LimitReader(content, 16<<20))
		found[name] = data
		return err
	})
	if err != nil {
		return named{}, fmt.Errorf("read image archive %s: %w", file, err)
	}
	if data, ok := found["index.json"]; ok { // containerd prefers it where there are both
		return nameOCI(data, fallback)
	}
	if data, ok := found["manifest.json"]; ok {
		return nameDocker(data, fallback)
	}
	return named{}, fmt.Errorf("read image archive %s: neither an OCI nor a docker archive", file)
}

func nameOCI(data []byte, fallback string) (named, error) {
	out := named{member: "index.json"}
	var index map[string]any
	if err := json.Unmarshal(data, &index); err != nil {
		return out, fmt.Errorf("read index.json: %w", err)
	}
	manifests, _ := index["manifests"].([]any)
	for i, one := range manifests {
		m, ok := one.(map[string]any)
		if !ok {
			return out, errors.New("read index.json: a manifest is no object")
		}
		notes, ok := m["annotations"].(map[string]any)
		if !ok {
			notes = map[string]any{}
			m["annotations"] = notes
		}
		name, _ := notes[nameAnnotation].(string)
		if name == "" {
			ref, _ := notes[refAnnotation].(string)
			switch {
			case strings.ContainsAny(ref, "/:"):
				name = ref
			case ref != "":
				name = fallback + ":" + ref
			case i == 0:
				name = fallback
			default:
				continue
			}
		}
		name, err := Normalize(name)
		if err != nil {
			return out, err
		}
		notes[nameAnnotation] = name
		out.Names = append(out.Names, name)
	}
	var err error
	out.data, err = json.Marshal(index)
	return out, err
}

func nameDocker(data []byte, fallback string) (named, error) {
	out := named{member: "manifest.json"}
	var manifest []map[string]any
	if err := json.Unmarshal(data, &manifest); err != nil {
		return out, fmt.Errorf("read manifest.json: %w", err)
	}
	for i, m := range manifest {
		tags, _ := m["RepoTags"].([]any)
		if len(tags) == 0 && i == 0 {
			tags = []any{fallback}
		}
		for t, tag := range tags {
			text, _ := tag.(string)
			name, err := Normalize(text)
			if err != nil {
				return out, err
			}
			tags[t] = name
			out.Names = append(out.Names, name)
		}
		m["RepoTags"] = tags
	}
	var err error
	out.data, err = json.Marshal(manifest)
	return out, err
}

// rewrite copies an archive with the naming member replaced.
func (n named) rewrite(file string, w io.Writer) error {
	out := tar.NewWriter(w)
	err := eachMember(file, func(h *tar.Header, content io.Reader) error {
		if strings.TrimPrefix(h.Name, "./") == n.member {
			h.Size, content = int64(len(n.data)), bytes.NewReader(n.data)
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(out, content)
		return err
	})
	if err != nil {
		return fmt.Errorf("read image archive %s: %w", file, err)
	}
	return out.Close()
}

// eachMember goes through a tar archive, gzipped or not.
func eachMember(file string, visit func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	buffered := bufio.NewReaderSize(f, 1<<20)
	var content io.Reader = buffered
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if content, err = gzip.NewReader(buffered); err != nil {
			return err
		}
	}
	archive := tar.NewReader(content)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(h, archive); err != nil {
			return err
		}
	}
}
