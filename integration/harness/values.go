package harness

import (
	"path/filepath"
	"strings"
)

// ChartFolder is a chart of the work tree.
func (c *Cluster) ChartFolder(name string) string { return filepath.Join(c.root, "charts", name) }

// ControllerValues are values of charts/cht-backup: the image that was built.
func (c *Cluster) ControllerValues() map[string]any {
	repository, tag := c.Images.Controller, ""
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	return map[string]any{
		"image": map[string]any{"repository": repository, "tag": tag},
		// The image's name is the same for every build of it: this is what rolls it out.
		"podAnnotations": map[string]any{"harness/image": c.controllerSum},
	}
}

// CHTValues are values of charts/cht for k3d, with what stands in for the CHT's images,
// which needs next to nothing; more is laid over them.
func (c *Cluster) CHTValues(more ...map[string]any) map[string]any {
	values := map[string]any{
		"platform": "k3d",
		// Nobody balances any load here.
		"nginx": map[string]any{"service": map[string]any{"type": "ClusterIP"}},
		"images": map[string]any{"couchdb": c.Images.CouchDB, "nouveau": c.Images.Nouveau, "haproxy": c.Images.HAProxy, "healthcheck": c.Images.Healthcheck,
			"api": c.Images.API, "sentinel": c.Images.Sentinel, "upgradeService": c.Images.UpgradeService, "nginx": c.Images.Nginx},
		"cht-backup": c.ControllerValues(),
	}
	for _, part := range []string{"couchdb", "nouveau", "haproxy", "healthcheck", "api", "sentinel", "upgradeService", "nginx"} {
		little := map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "1m", "memory": "8Mi"}}}
		if part != "nouveau" { // which is in CouchDB's pods
			// A stand-in ends at once. With the usual time a namespace's end takes as long: its
			// controller looks again only after half the longest one.
			little["terminationGracePeriodSeconds"] = 1
		}
		values = Overlaid(values, map[string]any{part: little})
	}
	for _, one := range more {
		values = Overlaid(values, one)
	}
	return values
}

// Overlaid lays values over others, table by table, as Helm does; both stay as they are.
func Overlaid(under, over map[string]any) map[string]any {
	out := copyValues(under)
	for k, v := range over {
		table, ok := v.(map[string]any)
		below, both := out[k].(map[string]any)
		switch {
		case ok && both:
			out[k] = Overlaid(below, table)
		case ok:
			out[k] = copyValues(table)
		default:
			out[k] = v
		}
	}
	return out
}
