package score

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/chart"
)

// Case is one way in which a chart is installed.
type Case struct {
	Name   string
	Chart  string // folder below the repository's root
	Values string
}

// Cases are every platform with one node and with three, each way in, and the
// controller by itself. What may be off by default is on: it is to be looked at too.
func Cases() []Case {
	var cases []Case
	ingress := map[string]string{
		"k3s": "{type: ingress}", "k3d": "{type: nginx}", "vsphere": "{type: nginx, host: cht.example.org}", "other": "{type: none}",
		"eks": "{host: cht.example.org, eks: {certificateArn: 'arn:aws:acm:eu-west-2:123456789012:certificate/1'}}",
		"gke": "{host: cht.example.org, gke: {staticIpName: ip, managedCertificateName: cert}}",
	}
	for _, platform := range []string{"k3s", "k3d", "eks", "gke", "vsphere", "other"} {
		for _, nodes := range []int{1, 3} {
			cases = append(cases, Case{Name: fmt.Sprintf("%s, %d nodes", platform, nodes), Chart: "charts/cht", Values: fmt.Sprintf(`
platform: %s
image: {registry: registry.example.org/cht, tag: 5.1.0}
images: {upgradeService: "registry.example.org/upgrade-service:0.32"}
couchdb: {nodes: %d}
ingress: %s
networkPolicy: {enabled: true}
cht-backup: {networkPolicy: {enabled: true}}
`, platform, nodes, ingress[platform])})
		}
	}
	return append(cases,
		Case{Name: "controller", Chart: "charts/cht-backup", Values: "networkPolicy: {enabled: true}"},
		Case{Name: "controller of a namespace", Chart: "charts/cht-backup", Values: "{namespaces: [clinic], rbac: {scope: Namespaced}, networkPolicy: {enabled: true}}"},
	)
}

// Render gives what a case makes, as one stream of YAML. Root is the repository's.
func Render(root string, c Case) (string, error) {
	values, err := chart.Values(c.Values)
	if err != nil {
		return "", err
	}
	r, err := chart.Render(root+"/"+c.Chart, values, chart.Release{Name: "cht", Namespace: "clinic"})
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Name, err)
	}
	var b strings.Builder
	for _, o := range append(r.Objects, r.Hooks...) {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return "", fmt.Errorf("%s: %s %s: %w", c.Name, o.GetKind(), o.GetName(), err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}
