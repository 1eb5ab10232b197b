package node

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
)

const saltBytes = 16

// scheme is one stored password: PBKDF2 over SHA-1 or SHA-256.
type scheme struct {
	prf        string // sha or sha256
	derived    string // hex
	salt       string
	iterations int
}

func derive(prf, password, salt string, iterations int) (string, error) {
	h, size := func() hash.Hash { return sha1.New() }, 20
	if prf == "sha256" {
		h, size = sha256.New, 32
	}
	key, err := pbkdf2.Key(h, password, []byte(salt), iterations, size)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hex.EncodeToString(key), nil
}

func newScheme(password string, iterations int) (scheme, error) {
	raw := make([]byte, saltBytes)
	rand.Read(raw) //nolint:errcheck // never fails
	s := scheme{prf: "sha256", salt: hex.EncodeToString(raw), iterations: iterations}
	var err error
	s.derived, err = derive(s.prf, password, s.salt, iterations)
	return s, err
}

func (s scheme) matches(password string) bool {
	got, err := derive(s.prf, password, s.salt, s.iterations)
	return err == nil && hmac.Equal([]byte(got), []byte(s.derived))
}

// admin is the scheme in the form of an [admins] entry.
func (s scheme) admin() string {
	return fmt.Sprintf("-pbkdf2:%s-%s,%s,%d", s.prf, s.derived, s.salt, s.iterations)
}

func parseAdmin(v string) (scheme, bool) {
	var s scheme
	rest, ok := strings.CutPrefix(v, "-pbkdf2")
	if !ok {
		return s, false
	}
	s.prf = "sha"
	if prf, ok := strings.CutPrefix(rest, ":"); ok {
		s.prf, rest, ok = strings.Cut(prf, "-")
		if !ok {
			return s, false
		}
	} else {
		rest = strings.TrimPrefix(rest, "-")
	}
	parts := strings.Split(rest, ",")
	if len(parts) != 3 {
		return s, false
	}
	n, err := strconv.Atoi(parts[2])
	s.derived, s.salt, s.iterations = parts[0], parts[1], n
	return s, err == nil && n > 0
}

// hashAdmins replaces plain admin passwords in the configuration by their hashes
// and persists them: from then on the volume, not the environment, decides.
func (n *Node) hashAdmins() error {
	for name, value := range n.conf.Section("admins") {
		if err := n.setAdmin(name, value, true); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) setAdmin(name, value string, persist bool) error {
	if _, ok := parseAdmin(value); ok || value == "" {
		return nil
	}
	s, err := newScheme(value, n.iterations())
	if err != nil {
		return err
	}
	hashed := s.admin()
	if _, _, err := n.conf.Set("admins", name, &hashed, persist); err != nil {
		return fmt.Errorf("persist admin %s: %w", name, err)
	}
	return nil
}

func (n *Node) iterations() int {
	v, _ := n.conf.Get("chttpd_auth", "iterations")
	if i, err := strconv.Atoi(v); err == nil && i > 0 {
		return i
	}
	return 10
}

func cookieMAC(secret, salt, name, stamp string) []byte {
	h := hmac.New(sha256.New, []byte(secret+salt))
	h.Write([]byte(name + ":" + stamp))
	return h.Sum(nil)
}

func (n *Node) newCookie(name, salt string) string {
	secret, _ := n.conf.Get("couch_httpd_auth", "secret")
	stamp := strings.ToUpper(strconv.FormatInt(time.Now().Unix(), 16))
	raw := append([]byte(name+":"+stamp+":"), cookieMAC(secret, salt, name, stamp)...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// readCookie splits a session cookie; the caller checks the proof with the salt.
func readCookie(v string) (name, stamp string, mac []byte, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(v, "="))
	if err != nil {
		return "", "", nil, false
	}
	parts := strings.SplitN(string(raw), ":", 3)
	if len(parts) != 3 {
		return "", "", nil, false
	}
	return parts[0], parts[1], []byte(parts[2]), true
}
