package bucket

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// allowed are the parameters of a URL, as gocloud.dev reads them. Those that hold
// credentials, or files of them, are not among them: a URL stands in statuses.
var allowed = map[string][]string{
	"s3": {"region", "endpoint", "profile", "dualstack", "fips", "hostname_immutable", "use_path_style", "s3ForcePathStyle", "disable_https", "anonymous",
		"accelerate", "ssetype", "kmskeyid", "role", "request_checksum_calculation", "response_checksum_validation", "rate_limiter_capacity"},
	"gs":     {"anonymous", "universe_domain"},
	"azblob": {"storage_account", "domain", "protocol", "localemu", "cdn"},
	"file":   {},
}

// place is a URL taken apart.
type place struct {
	scheme string
	// bucket is the bucket's or the container's name.
	bucket string
	// path within it, or in the file system; without slashes around it.
	path  string
	query url.Values
}

// parse takes a catalog's URL apart and refuses credentials in it, without repeating
// them.
func parse(raw string) (place, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return place{}, errors.New("the catalog's URL is none; expected s3://BUCKET/PREFIX, gs://…, azblob://… or file:///DIRECTORY")
	}
	names, ok := allowed[u.Scheme]
	if !ok {
		return place{}, fmt.Errorf("the catalog's URL has the scheme %q; s3, gs, azblob and file are known", u.Scheme)
	}
	if u.User != nil {
		return place{}, errors.New("the catalog's URL has credentials in it; give them by the environment or the identity of the pod, since the URL is shown to everyone")
	}
	if u.Fragment != "" || u.Opaque != "" {
		return place{}, fmt.Errorf("the catalog's URL is not of the form %s://…", u.Scheme)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return place{}, errors.New("the parameters of the catalog's URL cannot be read")
	}
	for name, values := range query {
		if name == "prefix" {
			return place{}, fmt.Errorf("the catalog's URL has the parameter prefix; write %s://BUCKET/PREFIX", u.Scheme)
		}
		if !slices.Contains(names, name) {
			return place{}, fmt.Errorf("the catalog's URL has the parameter %q; %s takes %s; credentials come from the environment", name, u.Scheme, strings.Join(names, ", "))
		}
		if inner, err := url.Parse(values[0]); len(values) != 1 || name == "endpoint" && (err != nil || inner.User != nil) {
			return place{}, fmt.Errorf("the catalog's URL: parameter %s must be there once, and hold no credentials", name)
		}
	}
	for _, element := range strings.Split(u.Path, "/") {
		if element == ".." || element == "." || strings.ContainsFunc(element, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
			return place{}, fmt.Errorf("the catalog's URL has the path %q", u.Path)
		}
	}
	p := place{scheme: u.Scheme, bucket: u.Host, path: strings.Trim(path.Clean("/"+u.Path), "/"), query: query}
	if isFile := u.Scheme == "file"; isFile && u.Host != "" || isFile && p.path == "" || !isFile && u.Host == "" {
		return place{}, errors.New("the catalog's URL names no place; expected s3://BUCKET/PREFIX, gs://…, azblob://… or file:///DIRECTORY")
	}
	return p, nil
}

// CheckURL refuses a URL that Open would, without asking anybody.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

// CleanURL is the URL as it is shown, "" for one that Open would refuse.
func CleanURL(raw string) string {
	p, err := parse(raw)
	if err != nil {
		return ""
	}
	return p.String()
}

// String is the URL to show.
func (p place) String() string {
	u := url.URL{Scheme: p.scheme, Host: p.bucket, RawQuery: p.query.Encode()}
	if p.path != "" {
		u.Path = "/" + p.path
	}
	return u.String()
}

// cut gives the place n path elements up, and those elements.
func (p place) cut(n int) (place, []string, bool) {
	var elements []string
	if p.path != "" {
		elements = strings.Split(p.path, "/")
	}
	if len(elements) < n {
		return p, nil, false
	}
	up := p
	up.path = strings.Join(elements[:len(elements)-n], "/")
	return up, elements[len(elements)-n:], true
}
