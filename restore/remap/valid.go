package remap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Invalid tells what of a Remap no API server would take, whatever the backup:
// found here, it is refused before anything is made.
func Invalid(remap *api.Remap) []string {
	if remap == nil {
		return nil
	}
	var all []string
	bad := func(what string, problems []string) {
		if len(problems) > 0 {
			all = append(all, what+": "+strings.Join(problems, "; "))
		}
	}
	pair := func(what, key, value string) {
		bad(fmt.Sprintf("%s: key %q", what, key), validation.IsQualifiedName(key))
		bad(fmt.Sprintf("%s: value %q of %s", what, value, key), validation.IsValidLabelValue(value))
	}
	for _, k := range slices.Sorted(maps.Keys(remap.Labels)) {
		pair("labels", k, string(remap.Labels[k]))
	}
	if remap.NodeSelector != nil {
		given := *remap.NodeSelector
		for _, k := range slices.Sorted(maps.Keys(given)) {
			pair("nodeSelector", k, string(given[k]))
		}
		if zone, ok := given[corev1.LabelTopologyZone]; ok && remap.Zone != "" && string(zone) != remap.Zone {
			bad("nodeSelector", []string{fmt.Sprintf("%s is %s, but zone is %s", corev1.LabelTopologyZone, zone, remap.Zone)})
		}
	}
	bad(fmt.Sprintf("zone %q", remap.Zone), validation.IsValidLabelValue(remap.Zone))
	if remap.Tolerations != nil {
		for _, t := range *remap.Tolerations {
			bad("tolerations: "+tolerationText(t), toleration(t))
		}
	}
	if in := remap.Ingress; in != nil {
		if in.Host != "" {
			check := validation.IsDNS1123Subdomain
			if strings.HasPrefix(in.Host, "*") {
				check = validation.IsWildcardDNS1123Subdomain
			}
			bad(fmt.Sprintf("ingress.host %q", in.Host), check(in.Host))
		}
		if in.ClassName != "" {
			bad(fmt.Sprintf("ingress.className %q", in.ClassName), validation.IsDNS1123Subdomain(in.ClassName))
		}
	}
	if remap.StorageClassName != "" {
		bad(fmt.Sprintf("storageClassName %q", remap.StorageClassName), validation.IsDNS1123Subdomain(remap.StorageClassName))
	}
	for _, image := range remap.Images {
		for _, name := range []string{image.From, image.To} {
			if strings.TrimRight(name, "/") == "" || strings.ContainsAny(name, " \t\n@") || strings.HasPrefix(name, "/") || strings.Contains(name, "//") {
				bad(fmt.Sprintf("images: %q", name), []string{"name a registry or a path below one, such as registry.example.org/medic, without https://"})
			}
		}
	}
	return all
}

func toleration(t corev1.Toleration) (problems []string) {
	if t.Key != "" {
		problems = validation.IsQualifiedName(t.Key)
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		if t.Key == "" {
			problems = append(problems, "without a key the operator must be Exists")
		}
		problems = append(problems, validation.IsValidLabelValue(t.Value)...)
	case corev1.TolerationOpExists:
		if t.Value != "" {
			problems = append(problems, "operator Exists takes no value")
		}
	default:
		problems = append(problems, fmt.Sprintf("operator %q is neither Equal nor Exists", t.Operator))
	}
	switch t.Effect {
	case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		problems = append(problems, fmt.Sprintf("effect %q is none of NoSchedule, PreferNoSchedule, NoExecute", t.Effect))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		problems = append(problems, "tolerationSeconds needs the effect NoExecute")
	}
	return problems
}
