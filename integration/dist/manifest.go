package main

import (
	"strings"

	"sigs.k8s.io/yaml"
)

// pluginName is the plugin's in krew, and its manifest's file name.
const pluginName = "cht"

const description = `Backs up, restores and looks at instances of the Community Health Toolkit (CHT)
on Kubernetes: "kubectl cht backup", "restore", "schedule", "drill", "status",
"doctor" and others. The work is done by the controller of the Helm chart
cht-backup, which must be installed in the cluster.
`

const caveats = `To complete names of backups, schedules and others with the Tab key, put the
second executable of this plugin on the PATH, beside the first:

  ln -s "${KREW_ROOT:-$HOME/.krew}/store/cht/VERSION/kubectl_complete-cht" "${KREW_ROOT:-$HOME/.krew}/bin/"

"kubectl cht doctor" says what a cluster lacks.
`

type pluginPlatform struct {
	Selector map[string]map[string]string `json:"selector"`
	URI      string                       `json:"uri"`
	SHA256   string                       `json:"sha256"`
	Bin      string                       `json:"bin"`
}

// manifest is krew's, of the archives that were made.
func (r release) manifest(made []archive) ([]byte, error) {
	spec := map[string]any{"version": r.version, "shortDescription": "Back up and restore CHT instances", "description": description,
		"caveats": strings.ReplaceAll(caveats, "VERSION", r.version)}
	if r.homepage != "" {
		spec["homepage"] = r.homepage
	}
	var platforms []pluginPlatform
	for _, a := range made {
		platforms = append(platforms, pluginPlatform{Selector: map[string]map[string]string{"matchLabels": {"os": a.platform.os, "arch": a.platform.arch}},
			URI: strings.TrimSuffix(r.base, "/") + "/" + a.name, SHA256: a.sum, Bin: a.platform.binary()})
	}
	spec["platforms"] = platforms
	return yaml.Marshal(map[string]any{"apiVersion": "krew.googlecontainertools.github.com/v1alpha2", "kind": "Plugin", "metadata": map[string]any{"name": pluginName}, "spec": spec})
}
