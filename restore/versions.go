package restore

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
)

// images gives the images of a workload's containers by container name.
func images(o *unstructured.Unstructured) map[string]string {
	found := map[string]string{}
	for _, list := range []string{"initContainers", "containers"} {
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", list)
		for _, c := range containers {
			if m, ok := c.(map[string]any); ok {
				name, _ := m["name"].(string)
				image, _ := m["image"].(string)
				found[name] = image
			}
		}
	}
	return found
}

// imageWarnings say which images change, and which of them go down.
func imageWarnings(was, now *unstructured.Unstructured) []string {
	var warnings []string
	old := images(was)
	for _, name := range sortedKeys(images(now)) {
		a, b := images(now)[name], old[name]
		switch {
		case b == "":
			warnings = append(warnings, fmt.Sprintf("%s %s: container %s is not in the backup and goes", strings.ToLower(now.GetKind()), now.GetName(), name))
		case a != b:
			down := ""
			if older(tag(b), tag(a)) {
				down = ", a downgrade"
			}
			warnings = append(warnings, fmt.Sprintf("%s %s: the image of container %s goes from %s back to %s%s", strings.ToLower(now.GetKind()), now.GetName(), name, a, b, down))
		}
	}
	return warnings
}

// tag is what follows the last colon of an image's name, a digest left out.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return ""
}

// older tells whether version a comes before b. What is no version is not older.
func older(a, b string) bool {
	va, err := version.ParseGeneric(strings.TrimPrefix(a, "v"))
	if err != nil {
		return false
	}
	vb, err := version.ParseGeneric(strings.TrimPrefix(b, "v"))
	if err != nil {
		return false
	}
	if va.EqualTo(vb) {
		return preRelease(a) < preRelease(b)
	}
	return va.LessThan(vb)
}

// preRelease orders 5.0.0-beta.2 before 5.0.0-beta.10 before 5.0.0, well enough
// for a warning.
func preRelease(v string) int {
	_, suffix, found := strings.Cut(v, "-")
	if !found {
		return 1 << 30
	}
	n, _ := strconv.Atoi(suffix[strings.LastIndexAny(suffix, ".-")+1:])
	return cmp.Or(n, 0)
}

// chartOf is the Helm chart that made an object, as NAME-VERSION.
func chartOf(o *unstructured.Unstructured) string {
	l := o.GetLabels()
	if c := l["helm.sh/chart"]; c != "" {
		return c
	}
	return l["chart"]
}

func chartWarning(workload, from, to string) string {
	down := ""
	if older(chartVersion(to), chartVersion(from)) {
		down = ", a downgrade: the next `helm upgrade` would take the present chart's templates again"
	}
	return fmt.Sprintf("%s was made by chart %s and goes back to what chart %s made%s", workload, from, to, down)
}

// chartVersion is the version in NAME-VERSION. A name may have dashes and digits
// too (cht-chart-4x), a version has a dot.
func chartVersion(chart string) string {
	if at := versionIn.FindStringIndex(chart); at != nil {
		return chart[at[0]+1:]
	}
	return ""
}

var versionIn = regexp.MustCompile(`-v?[0-9]+\.[0-9]`)
