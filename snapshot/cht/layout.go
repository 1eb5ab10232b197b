package cht

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Place is where a CouchDB node's data lies, as its workload says. Unlike a Node
// it needs no pod that runs.
type Place struct {
	Service string
	Claim   string
	// DataSubPath, ConfigSubPath and ConfigOnVolume are those of Node.
	DataSubPath    string
	ConfigSubPath  string
	ConfigOnVolume bool
	// Host is the host part of the Erlang name that the workload gives the node, ""
	// where it does not say.
	Host string
}

// Layout reads from the workloads, running or not, which CouchDB nodes there are
// and where their data lies. In the order of the nodes' numbers.
func Layout(inv Inventory) ([]Place, error) {
	var places []Place
	add := func(what string, template corev1.PodTemplateSpec) error {
		service := template.Labels[ServiceLabel]
		if !IsCouchDB(service) {
			return nil
		}
		container, data := dataMount(&corev1.Pod{Spec: template.Spec})
		if container == nil {
			return reason.Refuse(api.ReasonInstanceIncomplete, "%s in %s has no container that mounts a claim at %s", what, inv.Namespace, DataMount)
		}
		p := Place{Service: service, Claim: claimOf(&corev1.Pod{Spec: template.Spec}, data.Name), DataSubPath: data.SubPath}
		for _, m := range container.VolumeMounts {
			if m.MountPath == ConfigMount && m.Name == data.Name {
				p.ConfigSubPath, p.ConfigOnVolume = m.SubPath, true
			}
		}
		for _, e := range container.Env {
			if e.Name == "SVC_NAME" {
				p.Host = strings.TrimSpace(e.Value)
			}
		}
		places = append(places, p)
		return nil
	}
	for _, d := range inv.Deployments {
		if err := add("deployment "+d.Name, d.Spec.Template); err != nil {
			return nil, err
		}
	}
	for _, s := range inv.StatefulSets {
		if err := add("statefulset "+s.Name, s.Spec.Template); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(places, func(a, b Place) int { return number(a.Service) - number(b.Service) })
	return places, nil
}
