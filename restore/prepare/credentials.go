package prepare

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files that hold new credentials, by name.
const (
	UserKey   = "user"
	HashKey   = "admin"
	SecretKey = "secret"
)

// Credentials are what CouchDB's configuration is to say: the admin's password,
// hashed so that every node has the same salt (cookies are signed with it), and
// the secret that cookies are signed with.
type Credentials struct {
	User, Hash, Secret string
}

// ReadCredentials reads new credentials from a mounted Secret.
func ReadCredentials(dir string) (Credentials, error) {
	var c Credentials
	for key, to := range map[string]*string{UserKey: &c.User, HashKey: &c.Hash, SecretKey: &c.Secret} {
		text, err := os.ReadFile(filepath.Join(dir, key)) //nolint:gosec // our own mount
		if err != nil {
			return c, fmt.Errorf("read new credentials: %w", err)
		}
		*to = string(text)
		if *to == "" || strings.ContainsAny(*to, "\r\n") {
			return c, fmt.Errorf("new credentials: %s is empty or has several lines", key) // never its text
		}
	}
	return c, nil
}

// credentialsFile is where the CHT's image keeps admins and secret.
const credentialsFile = "cluster-credentials.ini"

// rotate puts new credentials in the place of the old in all ini files of a
// directory, and adds them to the CHT's own file where they are in none. It tells
// what it changed, and the admins that it left alone.
func rotate(dir string, c Credentials) (changed, others []string, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil // nothing of the source is there: CouchDB's start takes them from the environment
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.ini"))
	if err != nil {
		return nil, nil, err
	}
	var admin, secret bool
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // named by the operator's volume
		if err != nil {
			return nil, nil, err
		}
		fresh, found := c.into(text)
		admin, secret = admin || found.admin, secret || found.secret
		others = append(others, found.others...)
		if bytes.Equal(fresh, text) {
			continue
		}
		if err := replace(file, fresh); err != nil {
			return nil, nil, err
		}
		changed = append(changed, "credentials in "+filepath.Base(file))
	}
	if !admin || !secret {
		if err := c.add(filepath.Join(dir, credentialsFile), !admin, !secret); err != nil {
			return nil, nil, err
		}
		changed = append(changed, "credentials added to "+credentialsFile)
	}
	slices.Sort(others)
	return changed, slices.Compact(others), nil
}

// found is what an ini file had.
type found struct {
	admin, secret bool
	others        []string
}

// into gives an ini file's text with the new credentials. All other lines stay
// byte for byte.
func (c Credentials) into(text []byte) ([]byte, found) {
	var out bytes.Buffer
	var f found
	in := ""
	for line := range bytes.Lines(text) {
		if m := section.FindSubmatch(line); m != nil {
			in = string(m[1])
		}
		key, ok := keyOf(line)
		switch {
		case !ok:
		case in == "admins" && key == c.User:
			if f.admin {
				continue // the image's start script leaves duplicates
			}
			f.admin = true
			line = []byte(key + " = " + c.Hash + ending(line))
		case in == "admins":
			f.others = append(f.others, key)
		case (in == "chttpd_auth" || in == "couch_httpd_auth") && key == "secret":
			f.secret = true
			line = []byte(key + " = " + c.Secret + ending(line))
		}
		out.Write(line)
	}
	return out.Bytes(), f
}

// keyOf gives the key of a line that sets something, as CouchDB reads it.
func keyOf(line []byte) (string, bool) {
	text := strings.TrimSpace(string(line))
	if text == "" || text[0] == ';' || text[0] == '[' {
		return "", false
	}
	key, value, ok := strings.Cut(text, " = ")
	if !ok {
		key, value, ok = strings.Cut(text, "=")
	}
	key = strings.TrimSpace(key)
	return key, ok && key != "" && strings.TrimSpace(value) != ""
}

func ending(line []byte) string {
	return string(line[len(bytes.TrimRight(line, "\r\n")):])
}

// add writes what no file has to the CHT's own file.
func (c Credentials) add(file string, admin, secret bool) error {
	var lines []setting
	if admin {
		lines = append(lines, setting{"admins", c.User + " = " + c.Hash})
	}
	if secret {
		lines = append(lines, setting{"couch_httpd_auth", "secret = " + c.Secret}) // where the image keeps it; every version reads it there
	}
	return addLines(file, lines...)
}

// setting is a line of an ini file and the section that it stands in.
type setting struct{ heading, line string }

// addLines adds lines to a file at once, each below the heading that is there, or
// with one. The file is made where there is none.
func addLines(file string, lines ...setting) error {
	text, err := os.ReadFile(file) //nolint:gosec // on the operator's volume
	fresh := errors.Is(err, os.ErrNotExist)
	if err != nil && !fresh {
		return err
	}
	for _, l := range lines {
		text = under(text, l.heading, l.line)
	}
	if fresh {
		return create(file, text)
	}
	return replace(file, text)
}

func under(text []byte, heading, line string) []byte {
	var out bytes.Buffer
	done := false
	for l := range bytes.Lines(text) {
		out.Write(l)
		if m := section.FindSubmatch(l); m != nil && string(m[1]) == heading && !done {
			if ending(l) == "" {
				out.WriteString("\n")
			}
			out.WriteString(line + "\n")
			done = true
		}
	}
	if !done {
		if n := out.Len(); n > 0 {
			if out.Bytes()[n-1] != '\n' {
				out.WriteString("\n")
			}
			out.WriteString("\n")
		}
		out.WriteString("[" + heading + "]\n" + line + "\n")
	}
	return out.Bytes()
}
