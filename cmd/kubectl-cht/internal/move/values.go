package move

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/compose/project"
)

// images are the chart's keys by component.
var images = map[string]string{
	"couchdb": "couchdb", "nouveau": "nouveau", "haproxy": "haproxy", "healthcheck": "healthcheck", "api": "api", "sentinel": "sentinel", "nginx": "nginx",
}

// Options are what the record does not say.
type Options struct {
	// Host that users enter; without one there is no ingress.
	Host string
	// Values of charts/cht that win over those that are made here.
	Values map[string]any
}

// tlsSecret holds nginx's certificate for the ingress.
const tlsSecret = "cht-tls"

// values are those of charts/cht for a record, and what a person should know of them.
func values(r catalog.Record, o Options) (v map[string]any, notes []string) {
	ran := map[string]any{}
	for _, i := range r.Images {
		key := images[i.Component]
		if was, there := ran[key]; there && was != i.Image {
			notes = append(notes, fmt.Sprintf("%s ran with %s too; %s is taken for all", i.Container, i.Image, was))
			continue
		}
		if key != "" {
			ran[key] = i.Image
		}
	}
	delete(ran, "nginx") // it is there for Compose; an ingress takes its place
	nodes := len(r.Nodes)
	var claims []any
	bytes := int64(0)
	for _, n := range r.Nodes {
		claims = append(claims, map[string]any{"claim": n.Claim})
		bytes = max(bytes, n.CapacityBytes)
	}
	v = map[string]any{
		"images":      ran,
		"credentials": map[string]any{"existingSecret": cht.CredentialsSecret},
		"couchdb":     map[string]any{"nodes": nodes, "storage": map[string]any{"size": fmt.Sprintf("%dGi", bytes>>30)}, "dataSubPath": "data", "existingVolumes": claims},
		"nouveau":     map[string]any{"enabled": ran["nouveau"] != nil},
		// Compose's speaks to Docker.
		"upgradeService": map[string]any{"enabled": false},
		"ingress":        map[string]any{"type": "none"},
		"cht-backup":     map[string]any{"enabled": false},
	}
	notes = append(notes, "the upgrade service of Compose speaks to Docker and is left out; give images.upgradeService and upgradeService.enabled with --values for one that speaks to Kubernetes")
	if nodes == 1 && ran["healthcheck"] == nil {
		v["healthcheck"] = map[string]any{"enabled": false}
	}
	if o.Host != "" {
		ingress := map[string]any{"type": "ingress", "host": o.Host}
		if certificate(r) != nil {
			ingress["tls"] = map[string]any{"secretName": tlsSecret}
		}
		v["ingress"] = ingress
	} else {
		notes = append(notes, "there is no ingress; give the host that users enter with --ingress-host")
	}
	if builds := builds(r); builds != "" {
		v["api"] = map[string]any{"buildsUrl": builds}
	}
	return merge(v, o.Values), notes
}

// builds is where the API looks for releases, as the compose files say.
func builds(r catalog.Record) string {
	files, err := project.Recorded(r, catalog.ComposeFilesSecret)
	if err != nil || len(files) == 0 {
		return ""
	}
	p, err := project.Of(r.Compose.Dir, files, project.Options{Name: r.Compose.Project})
	if err != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		text := p.Services[name].Environment["BUILDS_URL"]
		if u, err := url.Parse(text); project.Component(name) == "api" && text != "" && err == nil && u.User == nil && strings.HasPrefix(u.Scheme, "http") {
			return text
		}
	}
	return ""
}

// merge puts one tree of values over another.
func merge(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range over {
		inner, is := v.(map[string]any)
		if below, both := out[k].(map[string]any); is && both {
			v = merge(below, inner)
		}
		out[k] = v
	}
	return out
}
