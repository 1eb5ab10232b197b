package offsite

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Schemes are those of the buckets that a catalog can lie in.
var Schemes = []string{"s3", "gs", "azblob", "file"}

// longest bounds a URL: no bucket, prefix and query need more.
const longest = 2048

// IsURL tells a URL of a catalog from NAMESPACE/BACKUP, which has no scheme.
func IsURL(text string) bool { return strings.Contains(text, "://") }

// Address is a URL in or of a catalog.
type Address struct {
	parsed *url.URL
}

// Candidate is where a catalog may lie, and what of the URL's path is left then.
type Candidate struct {
	// URL of the catalog itself.
	URL string
	// Namespace and Name are "" where the path does not go so far.
	Namespace, Name string
}

// Parse reads a URL. A part of it that cannot be, or must not be, is refused; the
// text of a password is never repeated.
func Parse(text string) (Address, error) {
	if len(text) > longest {
		return Address{}, fmt.Errorf("the URL has %d characters, more than %d; give SCHEME://BUCKET/PREFIX/NAMESPACE/NAME", len(text), longest)
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats the text.
		return Address{}, fmt.Errorf("it is not a URL; give SCHEME://BUCKET/PREFIX with one of the schemes %s", strings.Join(Schemes, ", "))
	}
	switch {
	case u.User != nil:
		return Address{}, fmt.Errorf("the URL carries a user or a password; leave them out and log in as usual (AWS_PROFILE, `aws sso login`, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT …)")
	case !known(u.Scheme):
		return Address{}, fmt.Errorf("scheme %q is not known; use one of %s", u.Scheme, strings.Join(Schemes, ", "))
	case u.Scheme == "file" && u.Host != "":
		return Address{}, fmt.Errorf("file://%s names a host; an absolute path has three slashes: file:///%s%s", u.Host, u.Host, u.Path)
	case u.Scheme != "file" && u.Host == "":
		return Address{}, fmt.Errorf("%s:// names no bucket; give %s://BUCKET/PREFIX", u.Scheme, u.Scheme)
	case u.Fragment != "" || u.Opaque != "":
		return Address{}, fmt.Errorf("the URL has a part after #, or no //; give SCHEME://BUCKET/PREFIX")
	}
	for _, s := range strings.Split(u.Path, "/") {
		if s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
			return Address{}, fmt.Errorf("the path of the URL has a part %q; write it out without . and .. and without control characters", s)
		}
	}
	return Address{parsed: u}, nil
}

func known(scheme string) bool {
	for _, s := range Schemes {
		if s == scheme {
			return true
		}
	}
	return false
}

// Candidates gives where the catalog may lie: at the URL itself, or one or two parts
// of its path above, which are the namespace and the backup's name then. The deepest
// comes first. What cannot be a namespace or a name is left out.
func (a Address) Candidates() []Candidate {
	parts := strings.FieldsFunc(a.parsed.Path, func(r rune) bool { return r == '/' })
	var all []Candidate
	for left := 0; left <= 2 && left <= len(parts); left++ {
		root := *a.parsed
		root.RawPath = ""
		root.Path = "/" + strings.Join(parts[:len(parts)-left], "/")
		if root.Path == "/" && root.Scheme != "file" {
			root.Path = ""
		}
		c := Candidate{URL: root.String()}
		rest := parts[len(parts)-left:]
		if left > 0 {
			c.Namespace = rest[0]
		}
		if left > 1 {
			c.Name = rest[1]
		}
		if c.Namespace != "" && len(validation.IsDNS1123Label(c.Namespace)) > 0 || c.Name != "" && len(validation.IsDNS1123Subdomain(c.Name)) > 0 {
			continue
		}
		all = append(all, c)
	}
	return all
}

// Redacted gives the URL as it may be shown and noted: without its query, where an
// endpoint or a profile may stand.
func Redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
