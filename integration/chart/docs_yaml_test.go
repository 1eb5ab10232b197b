package chart

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/chart/markdown"
)

// Every YAML block of the documentation is an object, a part of one of ours, a values
// file, or a rule of Prometheus, and has no field that is not there.
func TestYAMLInTheDocumentation(t *testing.T) {
	checked := 0
	for _, p := range pages(t) {
		for _, b := range p.Blocks {
			if b.Language != "yaml" {
				continue
			}
			checked++
			if err := checkYAML(b); err != nil {
				t.Errorf("%s:%d: %v", p.Path, b.Line, err)
			}
		}
	}
	if checked < 15 {
		t.Errorf("%d blocks were found: they are not read any more", checked)
	}
}

func TestYAMLIsCheckedAtAll(t *testing.T) {
	for name, b := range map[string]markdown.Block{
		"a field that is not":         {Text: "apiVersion: backup.communityhealthtoolkit.org/v1alpha1\nkind: Backup\nspec: {metod: EBS}"},
		"another's field that is not": {Text: "apiVersion: v1\nkind: Namespace\nspec: {finalisers: []}"},
		"a kind that is not":          {Text: "apiVersion: backup.communityhealthtoolkit.org/v1alpha1\nkind: Backups"},
		"a version that is not":       {Text: "apiVersion: snapshot.storage.k8s.io/v1beta1\nkind: VolumeSnapshotClass\ndriver: x\ndeletionPolicy: Delete"},
		"a part of nothing":           {Text: "spec: {retenton: {}}"},
		"no part":                     {Text: "anything: 1"},
		"a key twice":                 {Text: "spec: {method: EBS, method: CSI}"},
		"a value that is not":         {Text: "imag: {}", Note: "values of charts/cht-backup"},
		"a second document":           {Text: "apiVersion: v1\nkind: Namespace\n---\napiVersion: v1\nkind: Namespase"},
	} {
		if err := checkYAML(b); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func checkYAML(b markdown.Block) error {
	if folder, is := valuesOf(b); is {
		values, err := Values(b.Text)
		if err != nil {
			return err
		}
		return checkValues(folder, values)
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(b.Text), &head); err == nil && head.Kind != "" {
		for _, text := range strings.Split(b.Text, "\n---\n") {
			if err := checkObject(text); err != nil {
				return err
			}
		}
		return nil
	}
	return checkPart(b.Text)
}

var strict = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds of one name: a mistake in this test
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

func checkObject(text string) error {
	_, _, err := strict.Decode([]byte(text), nil, nil)
	return err
}

// rule is one of Prometheus' alerting rules.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// checkPart accepts what is, without a field too many, one of the parts that the pages
// show by themselves.
func checkPart(text string) error {
	var all []error
	for name, into := range map[string]any{
		"Backup":                  &struct{ Spec api.BackupSpec }{},
		"BackupSchedule":          &struct{ Spec api.BackupScheduleSpec }{},
		"Restore":                 &struct{ Spec api.RestoreSpec }{},
		"spec of a Backup":        &struct{ EBS *api.EBSPolicy }{},
		"spec of a Restore":       &struct{ Remap *api.Remap }{},
		"other spec of a Restore": &struct{ EBS *api.EBSRestore }{},
		"spec.remap":              &api.Remap{},
		"rules of Prometheus":     &[]rule{},
	} {
		err := yaml.UnmarshalStrict([]byte(text), into)
		if err == nil {
			return nil
		}
		all = append(all, fmt.Errorf("as %s: %w", name, err))
	}
	return fmt.Errorf("neither an object nor a part of one; of a values file, write <!-- values of charts/NAME --> above it: %w", errors.Join(all...))
}
