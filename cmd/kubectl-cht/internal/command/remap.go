package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/equality"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/cht"
)

// remapFlags say what does not fit the target: a file, and flags that win over it.
type remapFlags struct {
	file                                               string
	class, size, zone, host, ingressClass              string
	nodeSelectors, tolerations, replicas, images, tags []string
	// given tells whether a flag stands on the command line, if only empty.
	given func(flag string) bool
}

func (f *remapFlags) add(flags *pflag.FlagSet) {
	f.given = flags.Changed
	flags.StringVar(&f.file, "remap", "", "YAML file of what stands under spec.remap of a Restore; - is stdin. The flags below win over it")
	flags.StringVar(&f.class, "storage-class", "", "Storage class of every claim")
	flags.StringVar(&f.size, "claim-size", "", "Size of every claim, such as 100Gi; at least what the snapshot needs")
	flags.StringVar(&f.zone, "zone", "", "Zone for CouchDB and its volumes")
	flags.StringArrayVar(&f.nodeSelectors, "node-selector", nil, "KEY=VALUE, in the place of every workload's node selector; repeatable, empty removes it")
	flags.StringArrayVar(&f.tolerations, "toleration", nil, "KEY[=VALUE]:EFFECT, in the place of every workload's tolerations; repeatable, empty removes them")
	flags.StringVar(&f.host, "ingress-host", "", "Host of the ingress; with one a clone gets an ingress")
	flags.StringVar(&f.ingressClass, "ingress-class", "", "Class of the ingress")
	flags.StringArrayVar(&f.replicas, "replicas", nil, "COMPONENT=N, such as api=2; repeatable")
	flags.StringArrayVar(&f.images, "image-registry", nil, "FROM=TO, a registry or a path below one that images come from instead; repeatable")
	flags.StringArrayVar(&f.tags, "label", nil, "KEY=VALUE, added to every object that the restore makes; repeatable")
}

// remap gives what is asked for, nil when nothing is. in is stdin.
func (f *remapFlags) remap(in io.Reader) (*api.Remap, error) {
	asked := &api.Remap{}
	if f.given("remap") {
		var err error
		if asked, err = readRemap(f.file, in); err != nil {
			return nil, err
		}
	}
	if err := f.override(asked); err != nil {
		return nil, err
	}
	if err := checkRemap(asked); err != nil {
		return nil, err
	}
	if equality.Semantic.DeepEqual(asked, &api.Remap{}) {
		return nil, nil
	}
	return asked, nil
}

// readRemap decodes a file strictly: a field that is misspelt, and so ignored,
// would be noticed by nobody until the restored instance is in the wrong place.
func readRemap(file string, in io.Reader) (*api.Remap, error) {
	var raw []byte
	var err error
	what := "--remap " + file
	if file == "-" {
		what = "--remap - (stdin)"
		raw, err = io.ReadAll(in)
	} else {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "%s cannot be read: %w", what, err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, exit.Errorf(exit.Usage, "%s is empty; write what stands under spec.remap of a Restore, or leave --remap out", what)
	}
	if severalDocuments(raw) {
		return nil, exit.Errorf(exit.Usage, "%s holds several YAML documents, of which only the first would count; keep one", what)
	}
	data, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "%s is not YAML: %w", what, err)
	}
	asked := &api.Remap{}
	strict, err := kjson.UnmarshalStrict(data, asked)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "%s: %s; it holds what stands under spec.remap of a Restore (`kubectl explain restores.spec.remap --api-version=%s`)", what, oneLine(err), api.GroupVersion)
	}
	return asked, nil
}

// severalDocuments tells whether anything follows a document's end.
func severalDocuments(raw []byte) bool {
	documents := 0
	begun := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "---" || strings.HasPrefix(line, "--- "):
			begun = false
		case strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#") || line == "...":
		case !begun:
			begun = true
			documents++
		}
	}
	return documents > 1
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// checkRemap refuses what the API server or the controller would, before a
// namespace is made for it.
func checkRemap(r *api.Remap) error {
	problems := remap.Invalid(r)
	for _, c := range slices.Sorted(maps.Keys(r.Replicas)) {
		switch n := r.Replicas[c]; {
		case cht.IsCouchDB(c):
			problems = append(problems, fmt.Sprintf("replicas of %s: a CouchDB node has one replica, since its data is on one volume", c))
		case n < 0 || n > 100:
			problems = append(problems, fmt.Sprintf("replicas of %s: %d is out of range, give 0 to 100", c, n))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if k == cht.ServiceLabel || strings.HasPrefix(k, api.GroupVersion.Group+"/") {
			problems = append(problems, fmt.Sprintf("labels: %s has a meaning of its own", k))
		}
	}
	if r.ClaimSize != nil && r.ClaimSize.Sign() <= 0 {
		problems = append(problems, fmt.Sprintf("claimSize %s is not more than 0", r.ClaimSize))
	}
	if r.Ingress != nil && *r.Ingress == (api.IngressRemap{}) {
		problems = append(problems, "ingress names neither a host nor a className")
	}
	if len(problems) > 0 {
		return exit.Errorf(exit.Usage, "the remap cannot be used: %s; correct it", strings.Join(problems, ". "))
	}
	return nil
}
