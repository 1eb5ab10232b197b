package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// remapOf parses a command line; the file's text is in the place of FILE.
func remapOf(t *testing.T, file, stdin string, args ...string) (*api.Remap, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "remap.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", path)
	}
	var f remapFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.remap(strings.NewReader(stdin))
}

const fullRemap = `# for the new place
---
storageClassName: gp3
claimSize: 200Gi
zone: eu-west-1b
nodeSelector: {pool: cht}
tolerations: [{key: dedicated, value: cht, effect: NoSchedule}]
ingress: {host: old.example.org, className: nginx}
replicas: {api: 2, sentinel: 0}
images: [{from: public.ecr.aws/medic, to: registry.example.org/medic}, {from: docker.io, to: mirror.example.org}]
labels: {team: a, country: ke}
`

func fileRemap() *api.Remap {
	size := resource.MustParse("200Gi")
	return &api.Remap{StorageClassName: "gp3", ClaimSize: &size, Zone: "eu-west-1b", NodeSelector: &map[string]api.LabelValue{"pool": "cht"},
		Tolerations: &[]corev1.Toleration{{Key: "dedicated", Value: "cht", Effect: corev1.TaintEffectNoSchedule}},
		Ingress:     &api.IngressRemap{Host: "old.example.org", ClassName: "nginx"}, Replicas: map[string]api.Replicas{"api": 2, "sentinel": 0},
		Images: []api.ImageRemap{{From: "public.ecr.aws/medic", To: "registry.example.org/medic"}, {From: "docker.io", To: "mirror.example.org"}},
		Labels: map[string]api.LabelValue{"team": "a", "country": "ke"}}
}

func TestRemap(t *testing.T) {
	changed := func(change func(*api.Remap)) *api.Remap { r := fileRemap(); change(r); return r }
	exists, equal := corev1.TolerationOpExists, corev1.TolerationOpEqual
	for _, tc := range []struct {
		name string
		args []string
		want *api.Remap
	}{
		{"nothing", nil, nil},
		{"a file", []string{"--remap", "FILE"}, fileRemap()},
		{"stdin", []string{"--remap", "-"}, &api.Remap{Zone: "from-stdin"}},
		{"single flags win over a file", []string{"--remap", "FILE", "--storage-class", "gold", "--claim-size", "1Ti", "--zone", "z", "--ingress-host", "new.example.org"}, changed(func(r *api.Remap) {
			size := resource.MustParse("1Ti")
			r.StorageClassName, r.ClaimSize, r.Zone, r.Ingress.Host = "gold", &size, "z", "new.example.org"
		})},
		{"selector and tolerations take the file's place", []string{"--remap", "FILE", "--node-selector", "a=1", "--node-selector", "b=", "--toleration", "k:NoExecute", "--toleration", "k=v:NoSchedule"}, changed(func(r *api.Remap) {
			r.NodeSelector = &map[string]api.LabelValue{"a": "1", "b": ""}
			r.Tolerations = &[]corev1.Toleration{{Key: "k", Operator: exists, Effect: corev1.TaintEffectNoExecute}, {Key: "k", Operator: equal, Value: "v", Effect: corev1.TaintEffectNoSchedule}}
		})},
		{"entries win over a file's of their key", []string{"--remap", "FILE", "--replicas", "api=3", "--replicas", "haproxy=2", "--label", "team=b", "--label", "x=y", "--image-registry", "docker.io=m2.example.org"}, changed(func(r *api.Remap) {
			r.Replicas["api"], r.Replicas["haproxy"], r.Labels["team"], r.Labels["x"], r.Images[1].To = 3, 2, "b", "y", "m2.example.org"
		})},
		{"empty clears", []string{"--node-selector", "", "--toleration", ""}, &api.Remap{NodeSelector: &map[string]api.LabelValue{}, Tolerations: &[]corev1.Toleration{}}},
		{"empty clears a file's", []string{"--remap", "FILE", "--node-selector=", "--toleration="}, changed(func(r *api.Remap) {
			r.NodeSelector, r.Tolerations = &map[string]api.LabelValue{}, &[]corev1.Toleration{}
		})},
		{"a class alone", []string{"--ingress-class", "alb"}, &api.Remap{Ingress: &api.IngressRemap{ClassName: "alb"}}},
		{"no replicas", []string{"--replicas", "sentinel=0"}, &api.Remap{Replicas: map[string]api.Replicas{"sentinel": 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := remapOf(t, fullRemap, "zone: from-stdin\n", tc.args...)
			if err != nil || !equality.Semantic.DeepEqual(got, tc.want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, tc.want)
			}
			if (got == nil) != (tc.want == nil) || got != nil && ((got.NodeSelector == nil) != (tc.want.NodeSelector == nil) || (got.Tolerations == nil) != (tc.want.Tolerations == nil)) {
				t.Errorf("what is cleared and what is left as it was: got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestRemapRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		file string
		args []string
		says string
	}{
		{"an unknown field", "storageClas: gp3\n", []string{"--remap", "FILE"}, `unknown field "storageClas"`},
		{"of another case", "storageclassname: gp3\n", []string{"--remap", "FILE"}, `unknown field "storageclassname"`},
		{"further in", "ingress: {hosst: x}\n", []string{"--remap", "FILE"}, `unknown field "ingress.hosst"`},
		{"two of them", "a: 1\nb: 2\n", []string{"--remap", "FILE"}, `unknown field "b"`},
		{"the spec around it", "remap: {zone: a}\n", []string{"--remap", "FILE"}, "what stands under spec.remap"},
		{"a field twice", "zone: a\nzone: b\n", []string{"--remap", "FILE"}, `"zone" already set in map`},
		{"a wrong type", "replicas: {api: two}\n", []string{"--remap", "FILE"}, "cannot unmarshal string"},
		{"a list", "- zone: a\n", []string{"--remap", "FILE"}, "cannot unmarshal array"},
		{"no YAML", "zone: [\n", []string{"--remap", "FILE"}, "is not YAML"},
		{"two documents", "zone: a\n---\nzone: b\n", []string{"--remap", "FILE"}, "several YAML documents"},
		{"empty", " \n", []string{"--remap", "FILE"}, "is empty"},
		{"empty stdin", "", []string{"--remap", "-"}, "--remap - (stdin) is empty"},
		{"no file", "", []string{"--remap", "FILE.missing"}, "no such file"},
		{"no name", "", []string{"--remap", ""}, "cannot be read"},
		{"an ingress of nothing", "ingress: {}\n", []string{"--remap", "FILE"}, "neither a host nor a className"},
		{"replicas of CouchDB", "replicas: {couchdb-1: 2}\n", []string{"--remap", "FILE"}, "a CouchDB node has one replica"},
		{"negative replicas", "", []string{"--replicas", "api=-1"}, "give 0 to 100"},
		{"replicas in words", "", []string{"--replicas", "api=two"}, `"two" is not a number`},
		{"replicas of nothing", "", []string{"--replicas", "2"}, "COMPONENT=N"},
		{"a reserved label", "", []string{"--label", "cht.service=x"}, "cht.service has a meaning"},
		{"a label of ours", "", []string{"--label", "backup.communityhealthtoolkit.org/x=y"}, "has a meaning"},
		{"a bad label", "", []string{"--label", "a b=c"}, `labels: key "a b"`},
		{"a label without a value", "", []string{"--label", "a"}, "KEY=VALUE"},
		{"a selector without a value", "", []string{"--node-selector", "a"}, "KEY=VALUE"},
		{"a selector without a key", "", []string{"--node-selector", "=a"}, "KEY=VALUE"},
		{"no effect", "", []string{"--toleration", "k=v"}, "KEY[=VALUE]:EFFECT"},
		{"an unknown effect", "", []string{"--toleration", "k=v:NoWay"}, "NoSchedule PreferNoSchedule NoExecute"},
		{"no key", "", []string{"--toleration", ":NoSchedule"}, "KEY[=VALUE]:EFFECT"},
		{"no size", "", []string{"--claim-size", "big"}, `--claim-size "big"`},
		{"size 0", "", []string{"--claim-size", "0"}, "not more than 0"},
		{"an empty value", "", []string{"--zone", ""}, "--zone is empty"},
		{"a bad host", "", []string{"--ingress-host", "https://x"}, `ingress.host "https://x"`},
		{"an image without a place", "", []string{"--image-registry", "docker.io"}, "FROM=TO"},
		{"an image with a scheme", "", []string{"--image-registry", "docker.io=https://x"}, "without https://"},
		{"zone against selector", "", []string{"--zone", "a", "--node-selector", "topology.kubernetes.io/zone=b"}, "but zone is a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := remapOf(t, tc.file, "", tc.args...)
			if err == nil || exit.Of(err) != exit.Usage || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %+v, %v; want %q", got, err, tc.says)
			}
		})
	}
}

// The remap reaches the object, and what is wrong reaches no cluster.
func TestRestoreRemapped(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.in.WriteString("replicas: {api: 2}\n")
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--remap", "-", "--name", "r", "--label", "team=a")
	var r api.Restore
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "clone", Name: "r"}, &r); err != nil {
		t.Fatal(err)
	}
	if r.Spec.Remap == nil || r.Spec.Remap.Replicas["api"] != 2 || r.Spec.Remap.Labels["team"] != "a" {
		t.Errorf("remap %+v", r.Spec.Remap)
	}
	w = running(t, interceptor.Funcs{})
	w.in.WriteString("replica: {api: 2}\n")
	w.mustRun(t, exit.Usage, []string{`--remap - (stdin): unknown field "replica"`}, "restore", "--from", "medic/nightly", "--to", "clone", "--remap", "-")
	w.untouched(t)
}
