package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"

	"github.com/medic/cht-backup/integration/relay"
)

// pointsFile is what --record writes: operation, name and how often, by tabs.
const pointsFile = "integration/crash/points.txt"

//go:embed points.txt
var pointsText string

// point is a side effect of an operation, and how often an undisturbed one has it.
type point struct {
	op, name string
	count    int
}

func parsePoints(text string) (all []point, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, "\t")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s: %q has not three columns", pointsFile, line)
		}
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: %q: the last column is no number", pointsFile, line)
		}
		all = append(all, point{parts[0], parts[1], n})
	}
	return all, nil
}

func formatPoints(all []point) string {
	text := "# Crash points: what each operation does that changes something, and how often. Made by\n# go run ./integration/crash --record\n"
	for _, p := range all {
		text += fmt.Sprintf("%s\t%s\t%d\n", p.op, p.name, p.count)
	}
	return text
}

// background is what the controller writes whatever it works on.
var background = []string{"leases", "events", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}

// kubePoint names a request to the API server; "" is none that changes something.
func kubePoint(method string, u *url.URL, body []byte) string {
	parts := relay.Resource(u)
	if parts == nil {
		return ""
	}
	resource, sub := parts[0], ""
	if len(parts) > 2 {
		sub = "/" + parts[2]
	}
	if resource == "pods" && sub == "/exec" {
		return strings.TrimSpace("exec " + execWords(u.Query()["command"]))
	}
	if slices.Contains(background, resource) || method == http.MethodGet || resource == "configmaps" && bytes.Contains(body, []byte("checkup")) {
		return ""
	}
	return strings.TrimSpace(method + " " + resource + sub + " " + detail(resource, body))
}

// execWords say what is run: the pause script is long.
func execWords(command []string) string {
	for i, word := range command {
		if strings.HasSuffix(word, "/cht-backup") && len(command) > i+2 {
			return command[i+1] + " " + command[i+2]
		}
		if word == "cht-pause" {
			return word
		}
	}
	return ""
}

var phaseIn = regexp.MustCompile(`"phase":"([A-Za-z]+)"`)

// detail tells pods by their role, and changes of a status by the phase they set. Bodies
// are JSON or protobuf, in which a label's name is followed by a tag, the length of the
// value and the value.
func detail(resource string, body []byte) string {
	if _, after, found := bytes.Cut(body, []byte(api.RoleLabel)); found && resource == "pods" && len(after) > 2 {
		if n := int(after[1]); after[0] == 0x12 && len(after) > n+2 {
			return string(after[2 : n+2])
		}
		role, _, _ := strings.Cut(strings.TrimPrefix(string(after), `":"`), `"`)
		return role
	}
	if found := phaseIn.FindSubmatch(body); found != nil && bytes.Contains(body, []byte(`"status"`)) {
		return string(found[1])
	}
	return ""
}

// bucketPoint names a request to the bucket: keys by their first two parts.
func bucketPoint(method string, u *url.URL) string {
	if method == http.MethodGet || method == http.MethodHead {
		return ""
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	kind := ""
	for _, p := range parts[1:] { // the first is the bucket
		if strings.ContainsAny(p, "0123456789_.") && p != "v1" || kind != "" && !regexp.MustCompile(`^[a-z0-9-]{1,12}$`).MatchString(p) {
			continue
		}
		kind += "/" + p
	}
	if strings.Contains(kind, "/probe") {
		return "" // the check-up's
	}
	return method + " bucket" + kind
}
