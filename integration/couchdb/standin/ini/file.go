package ini

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Values maps section to key to value.
type Values map[string]map[string]string

// ReadFile parses one file. A missing file is empty.
func ReadFile(path string) (Values, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Values{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return parse(raw), nil
}

func parse(raw []byte) Values {
	vals := Values{}
	section := ""
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if name, ok := heading(line); ok {
			section = name
			continue
		}
		key, value, ok := assignment(line)
		if !ok || section == "" {
			continue
		}
		if vals[section] == nil {
			vals[section] = map[string]string{}
		}
		vals[section][key] = value
	}
	return vals
}

func heading(line string) (string, bool) {
	if len(line) > 2 && line[0] == '[' && line[len(line)-1] == ']' {
		return strings.TrimSpace(line[1 : len(line)-1]), true
	}
	return "", false
}

func assignment(line string) (key, value string, ok bool) {
	if line == "" || line[0] == ';' || line[0] == '#' {
		return "", "", false
	}
	key, value, ok = strings.Cut(line, "=")
	if !ok {
		return "", "", false
	}
	// A comment after a value must be set off by a space: secrets contain ';'.
	if i := strings.Index(value, " ;"); i >= 0 {
		value = value[:i]
	}
	return strings.TrimSpace(key), strings.TrimSpace(value), true
}

// SaveFile sets (or with value nil removes) one key in a file, keeping every
// other line, and returns when it is on disk.
func SaveFile(path, section, key string, value *string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("open configuration %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // Sync below is what counts
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration %s: %w", path, err)
	}
	out := edit(raw, section, key, value)
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("rewrite configuration %s: %w", path, err)
	}
	if _, err := f.WriteAt(out, 0); err != nil {
		return fmt.Errorf("rewrite configuration %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync configuration %s: %w", path, err)
	}
	return nil
}

func edit(raw []byte, section, key string, value *string) []byte {
	var out []string
	in, seen, done := false, false, false
	for _, line := range strings.Split(strings.TrimRight(string(raw), "\n"), "\n") {
		if name, ok := heading(strings.TrimSpace(line)); ok {
			in = name == section
			out = append(out, line)
			if in && !seen && value != nil {
				out = append(out, key+" = "+*value)
				done = true
			}
			seen = seen || in
			continue
		}
		if k, _, ok := assignment(strings.TrimSpace(line)); in && ok && k == key {
			continue
		}
		out = append(out, line)
	}
	if value != nil && !done {
		out = append(out, "", "["+section+"]", key+" = "+*value)
	}
	return []byte(strings.TrimLeft(strings.Join(out, "\n"), "\n") + "\n")
}
