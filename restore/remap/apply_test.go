package remap

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return o
}

// workload is a Deployment cht-SERVICE with that pod spec.
func workload(t *testing.T, service, pod string) *unstructured.Unstructured {
	t.Helper()
	return object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-`+service+`, labels: {own: kept}}, spec: {replicas: 1, selector: {matchLabels: {cht.service: `+service+
		`}}, template: {metadata: {labels: {cht.service: `+service+`}}, spec: `+pod+`}}}`)
}

func given(t *testing.T, text string) *api.Remap {
	t.Helper()
	var r api.Remap
	if err := yaml.UnmarshalStrict([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func field(o *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return v
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Where a pod may run. "" in want is no selector at all.
func TestPlace(t *testing.T) {
	const pinned = `{nodeSelector: {kubernetes.io/hostname: worker-1}}`
	for _, tt := range []struct {
		name, service, pod, remap string
		want                      string
		warns                     string
	}{
		{"nothing asked", "couchdb-1", pinned, `{}`, `{"kubernetes.io/hostname":"worker-1"}`, ""},
		{"replaced", "couchdb-1", pinned, `{nodeSelector: {disk: ssd}}`, `{"disk":"ssd"}`, ""},
		{"removed", "api", pinned, `{nodeSelector: {}}`, `null`, ""},
		{"given where there was none", "api", `{}`, `{nodeSelector: {disk: ssd}}`, `{"disk":"ssd"}`, ""},
		{"a zone is CouchDB's", "couchdb", `{}`, `{zone: b}`, `{"topology.kubernetes.io/zone":"b"}`, ""},
		{"and nobody else's", "api", `{nodeSelector: {a: b}}`, `{zone: b}`, `{"a":"b"}`, ""},
		{"a zone frees from the source's node", "couchdb-1", pinned, `{zone: b}`, `{"topology.kubernetes.io/zone":"b"}`, "Deployment cht-couchdb-1 was pinned to node worker-1"},
		{"a zone replaces a zone, and keeps the rest", "couchdb-1", `{nodeSelector: {topology.kubernetes.io/zone: a, disk: ssd}}`, `{zone: b}`, `{"disk":"ssd","topology.kubernetes.io/zone":"b"}`, ""},
		{"a zone and a node that was asked for", "couchdb-1", pinned, `{zone: b, nodeSelector: {kubernetes.io/hostname: w9}}`, `{"kubernetes.io/hostname":"w9","topology.kubernetes.io/zone":"b"}`, ""},
		{"node affinity goes with the selector", "api", `{affinity: {podAntiAffinity: {}, nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}`, `{nodeSelector: {}}`, `null`, "nodeAffinity of Deployment cht-api"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := workload(t, tt.service, tt.pod)
			before := in.DeepCopy()
			r := Apply(given(t, tt.remap), []*unstructured.Unstructured{in})
			if !reflect.DeepEqual(before.Object, in.Object) {
				t.Error("the backup's object was changed")
			}
			if got := asJSON(field(r.Objects[0], "spec", "template", "spec", "nodeSelector")); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if field(r.Objects[0], "spec", "template", "spec", "affinity", "nodeAffinity") != nil {
				t.Error("the node affinity is there")
			}
			if got := strings.Join(r.Warnings, "|"); (tt.warns == "") != (got == "") || !strings.Contains(got, tt.warns) {
				t.Errorf("warnings %q, want %q", got, tt.warns)
			}
			if changed := asJSON(field(before, "spec", "template", "spec", "nodeSelector")) != tt.want; changed != (len(r.Of(in)) > 0) {
				t.Errorf("told %v of a change: %v", r.Of(in), changed)
			}
			if len(r.Unmatched) > 0 {
				t.Error(r.Unmatched)
			}
		})
	}
}

func TestTolerations(t *testing.T) {
	const had = `{tolerations: [{key: old, operator: Exists}]}`
	for _, tt := range []struct{ pod, remap, want, says string }{
		{had, `{}`, `[{"key":"old","operator":"Exists"}]`, ""},
		{had, `{tolerations: []}`, `null`, "tolerations none"},
		{`{}`, `{tolerations: []}`, `null`, ""},
		{had, `{tolerations: [{key: dedicated, operator: Equal, value: cht, effect: NoExecute, tolerationSeconds: 60}]}`,
			`[{"effect":"NoExecute","key":"dedicated","operator":"Equal","tolerationSeconds":60,"value":"cht"}]`, "tolerations dedicated=cht:NoExecute"},
	} {
		r := Apply(given(t, tt.remap), []*unstructured.Unstructured{workload(t, "sentinel", tt.pod)})
		if got := asJSON(field(r.Objects[0], "spec", "template", "spec", "tolerations")); got != tt.want {
			t.Errorf("%s on %s: got %s, want %s", tt.remap, tt.pod, got, tt.want)
		}
		if got := strings.Join(r.Of(r.Objects[0]), "|"); got != tt.says {
			t.Errorf("%s on %s: says %q", tt.remap, tt.pod, got)
		}
		r.Objects[0].DeepCopy() // panics on what no JSON has
	}
}

func TestImages(t *testing.T) {
	for _, tt := range []struct{ name, images, in, want, unmatched string }{
		{"a registry", `[{from: public.ecr.aws, to: mirror.example.org}]`, "public.ecr.aws/medic/cht-api:5.0.0", "mirror.example.org/medic/cht-api:5.0.0", ""},
		{"a path", `[{from: public.ecr.aws/medic, to: mirror:5000/cht}]`, "public.ecr.aws/medic/cht-api:5.0.0@sha256:ab", "mirror:5000/cht/cht-api:5.0.0@sha256:ab", ""},
		{"a path with a slash at its end", `[{from: public.ecr.aws/medic/, to: m/}]`, "public.ecr.aws/medic/cht-api:5.0.0", "m/cht-api:5.0.0", ""},
		{"a whole name", `[{from: public.ecr.aws/medic/cht-api, to: m/api}]`, "public.ecr.aws/medic/cht-api:5.0.0", "m/api:5.0.0", ""},
		{"a whole name with a digest", `[{from: public.ecr.aws/medic/cht-api, to: m/api}]`, "public.ecr.aws/medic/cht-api@sha256:ab", "m/api@sha256:ab", ""},
		{"half a path element", `[{from: public.ecr.aws/med, to: m}]`, "public.ecr.aws/medic/cht-api:5.0.0", "public.ecr.aws/medic/cht-api:5.0.0", `"public.ecr.aws/med"`},
		{"half a name", `[{from: public.ecr.aws/medic/cht, to: m}]`, "public.ecr.aws/medic/cht-api:5.0.0", "public.ecr.aws/medic/cht-api:5.0.0", "public.ecr.aws/medic/cht-api:5.0.0"},
		{"a registry without its port", `[{from: registry, to: m}]`, "registry:5000/cht-api:5", "registry:5000/cht-api:5", `"registry"`},
		{"a registry with its port", `[{from: "registry:5000", to: m}]`, "registry:5000/cht-api:5", "m/cht-api:5", ""},
		{"Docker Hub by its short name", `[{from: medicmobile, to: m}]`, "medicmobile/cht-api:5", "m/cht-api:5", ""},
		{"Docker Hub by its full name", `[{from: docker.io, to: m}]`, "medicmobile/cht-api:5", "m/medicmobile/cht-api:5", ""},
		{"Docker Hub's own", `[{from: docker.io/library, to: m}]`, "haproxy:2", "m/haproxy:2", ""},
		{"Docker Hub is not another registry", `[{from: docker.io, to: m}]`, "ghcr.io/medic/api:5", "ghcr.io/medic/api:5", `"docker.io"`},
		{"no domain, and yet a registry", `[{from: docker.io, to: m}]`, "localhost/api:5", "localhost/api:5", `"docker.io"`},
		{"the closest of two", `[{from: r.io, to: a}, {from: r.io/medic, to: b}]`, "r.io/medic/api:5", "b/api:5", `"r.io"`},
		{"one twice", `[{from: r.io, to: a}, {from: r.io, to: b}]`, "r.io/api", "a/api", `"r.io"`},
		{"no image", `[{from: r.io, to: a}]`, "", "", `the backup has none`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, list := range []string{"containers", "initContainers"} {
				r := Apply(given(t, `{images: `+tt.images+`}`), []*unstructured.Unstructured{workload(t, "api", `{`+list+`: [{name: c, image: "`+tt.in+`", env: [{name: X, value: "`+tt.in+`"}]}]}`)})
				one, ok := field(r.Objects[0], "spec", "template", "spec", list).([]any)[0].(map[string]any)
				if !ok || one["image"] != tt.want {
					t.Errorf("%s: got %v, want %s", list, one["image"], tt.want)
				}
				if asJSON(one["env"]) != asJSON([]any{map[string]any{"name": "X", "value": tt.in}}) {
					t.Errorf("%s: the environment became %v", list, one["env"])
				}
				if got := strings.Join(r.Unmatched, "|"); (tt.unmatched == "") != (got == "") || !strings.Contains(got, tt.unmatched) {
					t.Errorf("%s: unmatched %q, want %q", list, got, tt.unmatched)
				}
			}
		})
	}
}

func TestReplicas(t *testing.T) {
	r := Apply(given(t, `{replicas: {api: 3, sentinel: 0, ap: 1}}`), []*unstructured.Unstructured{workload(t, "api", `{}`), workload(t, "sentinel", `{}`), workload(t, "haproxy", `{}`)})
	for i, want := range []int64{3, 0, 1} {
		if n, _, err := unstructured.NestedInt64(r.Objects[i].Object, "spec", "replicas"); err != nil || n != want {
			t.Errorf("%s has %d (%v), want %d", r.Objects[i].GetName(), n, err, want)
		}
	}
	if len(r.Unmatched) != 1 || !strings.Contains(r.Unmatched[0], `no component "ap"; it has api, haproxy, sentinel`) {
		t.Errorf("unmatched %q", r.Unmatched)
	}
}

// Labels are the object's alone: a pod template's are what a selector selects by.
func TestLabels(t *testing.T) {
	in := workload(t, "api", `{}`)
	r := Apply(given(t, `{labels: {team: health, own: other}}`), []*unstructured.Unstructured{in, object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}`)})
	if got := asJSON(r.Objects[0].GetLabels()); got != `{"own":"other","team":"health"}` {
		t.Errorf("labels %s", got)
	}
	if got := asJSON(r.Objects[1].GetLabels()); got != `{"own":"other","team":"health"}` {
		t.Errorf("labels %s", got)
	}
	if !reflect.DeepEqual(field(r.Objects[0], "spec"), field(in, "spec")) {
		t.Errorf("the spec became %s", asJSON(field(r.Objects[0], "spec")))
	}
	own := map[string]string{"a": "b"}
	if got := Labels(nil, own); got["a"] != "b" || len(got) != 1 {
		t.Errorf("without a remap: %v", got)
	}
	Labels(&api.Remap{Labels: map[string]api.LabelValue{"x": "y"}}, own)
	if len(own) != 1 {
		t.Error("the map that was given was changed")
	}
}

const (
	oldForm = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, annotations: {kubernetes.io/ingress.class: alb, external-dns.alpha.kubernetes.io/hostname: cht.example.org}}, spec: {rules: [{host: cht.example.org, http: {paths: [1]}}], tls: [{hosts: [cht.example.org], secretName: cert}]}}`
	newForm = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {ingressClassName: nginx, rules: [{host: a.org, http: {paths: [1]}}, {host: www.a.org, http: {paths: [1]}}, {host: b.org, http: {paths: [2]}}]}}`
	noHost  = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {rules: [{http: {paths: [1]}}]}}`
)

func TestIngress(t *testing.T) {
	for _, tt := range []struct {
		name, in, remap, spec string
		class                 string // the annotation
		warns                 []string
		unmatched             string
	}{
		{"host, and its other places", oldForm, `{ingress: {host: new.org}}`, `{"rules":[{"host":"new.org","http":{"paths":[1]}}],"tls":[{"hosts":["new.org"],"secretName":"cert"}]}`, "alb",
			[]string{"TLS Secret cert, whose certificate may not be for new.org", "annotation external-dns.alpha.kubernetes.io/hostname names the backup's host cht.example.org"}, ""},
		{"the same host again", oldForm, `{ingress: {host: cht.example.org}}`, `{"rules":[{"host":"cht.example.org","http":{"paths":[1]}}],"tls":[{"hosts":["cht.example.org"],"secretName":"cert"}]}`, "alb", nil, ""},
		{"class in the annotation", oldForm, `{ingress: {className: gce}}`, `{"rules":[{"host":"cht.example.org","http":{"paths":[1]}}],"tls":[{"hosts":["cht.example.org"],"secretName":"cert"}]}`, "gce", nil, ""},
		{"class", newForm, `{ingress: {className: gce}}`, `{"ingressClassName":"gce","rules":[{"host":"a.org","http":{"paths":[1]}},{"host":"www.a.org","http":{"paths":[1]}},{"host":"b.org","http":{"paths":[2]}}]}`, "", nil, ""},
		{"several hosts become one, without double rules", newForm, `{ingress: {host: new.org}}`, `{"ingressClassName":"nginx","rules":[{"host":"new.org","http":{"paths":[1]}},{"host":"new.org","http":{"paths":[2]}}]}`, "",
			[]string{"Ingress i served a.org, b.org, www.a.org; all of them become new.org"}, ""},
		{"no host before, no class", noHost, `{ingress: {host: new.org, className: traefik}}`, `{"ingressClassName":"traefik","rules":[{"host":"new.org","http":{"paths":[1]}}]}`, "", nil, ""},
		{"no rules", `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {defaultBackend: {}}}`, `{ingress: {host: new.org}}`, `{"defaultBackend":{}}`, "", nil, "Ingress i has no rules"},
		{"no ingress", `{apiVersion: v1, kind: Service, metadata: {name: i}, spec: {}}`, `{ingress: {host: new.org}}`, `{}`, "", nil, "the backup has no Ingress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Apply(given(t, tt.remap), []*unstructured.Unstructured{object(t, tt.in)})
			if got := asJSON(field(r.Objects[0], "spec")); got != tt.spec {
				t.Errorf("got  %s\nwant %s", got, tt.spec)
			}
			if got := r.Objects[0].GetAnnotations()[OldClassAnnotation]; got != tt.class {
				t.Errorf("annotation %q, want %q", got, tt.class)
			}
			if len(r.Warnings) != len(tt.warns) {
				t.Errorf("warnings %q, want %q", r.Warnings, tt.warns)
			}
			for _, want := range tt.warns {
				if !strings.Contains(strings.Join(r.Warnings, "|"), want) {
					t.Errorf("no warning %q in %q", want, r.Warnings)
				}
			}
			if got := strings.Join(r.Unmatched, "|"); (tt.unmatched == "") != (got == "") || !strings.Contains(got, tt.unmatched) {
				t.Errorf("unmatched %q, want %q", got, tt.unmatched)
			}
		})
	}
}

// Where the old host stands exactly, the new one comes; each place is named.
func TestHostElsewhere(t *testing.T) {
	secret := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	r := Apply(given(t, `{ingress: {host: new.org}}`), []*unstructured.Unstructured{
		workload(t, "api", `{containers: [{name: cht-api, env: [{name: PUBLIC_URL, value: "https://cht.example.org/login"}, {name: OTHER, value: "https://my-cht.example.org"}]}]}`),
		object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {mail: admin@cht.example.org, hosts: "a,cht.example.org;b"}}`),
		object(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {url: `+secret("https://u:p@cht.example.org")+`, app: `+secret("cht.example.org:443")+`, bytes: `+secret("\xff cht.example.org")+`}}`),
		object(t, oldForm),
	})
	env, ok := field(r.Objects[0], "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
	if !ok || asJSON(env["env"]) != `[{"name":"PUBLIC_URL","value":"https://new.org/login"},{"name":"OTHER","value":"https://my-cht.example.org"}]` {
		t.Errorf("environment %v", env["env"])
	}
	if got := asJSON(field(r.Objects[1], "data")); got != `{"hosts":"a,new.org;b","mail":"admin@cht.example.org"}` {
		t.Errorf("ConfigMap %s", got)
	}
	if got := asJSON(field(r.Objects[2], "data")); got != asJSON(map[string]any{"url": secret("https://u:p@cht.example.org"), "app": secret("new.org:443"), "bytes": secret("\xff cht.example.org")}) {
		t.Errorf("Secret %s", got)
	}
	all := strings.Join(r.Warnings, "\n")
	for _, want := range []string{"Deployment cht-api: spec.template.spec.containers[cht-api].env[PUBLIC_URL].value names", "ConfigMap c: data.hosts names", "Secret s: data.app names"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning %q in %s", want, all)
		}
	}
	if len(r.Warnings) != 5 { // those, the annotation and the certificate
		t.Errorf("%d warnings: %s", len(r.Warnings), all)
	}
}

func TestReplaceHost(t *testing.T) {
	for in, want := range map[string]string{
		"a.org": "NEW", "https://a.org": "NEW", "https://a.org:80/x?y=a.org": "NEW", "x.a.org": "", "a.org.uk": "", "a.org.": "NEW", "see a.org. Then": "NEW",
		"aa.org": "", "a.organ": "", "a.org-b": "", "me@a.org": "", "-a.org": "", "(a.org)": "NEW", "A.org": "", "a_org": "",
	} {
		if want != "" {
			want = strings.ReplaceAll(in, "a.org", "new.org")
		} else {
			want = in
		}
		if got := replaceHost(in, "a.org", "new.org"); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestClaim(t *testing.T) {
	size := resource.MustParse("20Gi")
	was := Claim{StorageClass: "gp3", Bytes: 10 << 30}
	for _, tt := range []struct {
		remap *api.Remap
		want  Claim
	}{
		{nil, was}, {&api.Remap{}, was}, {&api.Remap{StorageClassName: "x"}, Claim{"x", 10 << 30}}, {&api.Remap{ClaimSize: &size}, Claim{"gp3", 20 << 30}},
	} {
		if got := was.Remapped(tt.remap); got != tt.want {
			t.Errorf("%+v: got %+v", tt.remap, got)
		}
	}
}

// Without a remap objects come back as they were.
func TestNoRemap(t *testing.T) {
	in := []*unstructured.Unstructured{workload(t, "api", `{nodeSelector: {a: b}}`), object(t, oldForm)}
	for _, r := range []Result{Apply(nil, in), Apply(&api.Remap{}, in)} {
		for i := range in {
			if !reflect.DeepEqual(r.Objects[i].Object, in[i].Object) {
				t.Errorf("%s became %s", in[i].GetName(), asJSON(r.Objects[i].Object))
			}
		}
		if len(r.Changes)+len(r.Warnings)+len(r.Unmatched) > 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestInvalid(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, tt := range []struct{ remap, want string }{
		{`{}`, ""},
		{`{storageClassName: gp3, zone: eu-west-2b, nodeSelector: {example.org/disk: ssd}, labels: {a: ""}, images: [{from: r.io, to: "m:5000/x"}], ingress: {host: "*.a.org", className: nginx}}`, ""},
		{`{tolerations: [{operator: Exists}, {key: a}, {key: a, value: b, effect: NoExecute, tolerationSeconds: 3}]}`, ""},
		{`{labels: {"a b": c}}`, `labels: key "a b"`},
		{`{labels: {"": c}}`, `labels: key ""`},
		{`{labels: {a: "b c"}}`, `value "b c" of a`},
		{`{labels: {a: ` + long + `}}`, "must be no more than 63"},
		{`{nodeSelector: {a/b/c: d}}`, `nodeSelector: key "a/b/c"`},
		{`{zone: b, nodeSelector: {topology.kubernetes.io/zone: a}}`, "topology.kubernetes.io/zone is a, but zone is b"},
		{`{zone: b, nodeSelector: {topology.kubernetes.io/zone: b}}`, ""},
		{`{zone: "a b"}`, `zone "a b"`},
		{`{tolerations: [{key: a, operator: Maybe}]}`, `operator "Maybe"`},
		{`{tolerations: [{operator: Equal, value: a}]}`, "without a key"},
		{`{tolerations: [{key: a, operator: Exists, value: b}]}`, "takes no value"},
		{`{tolerations: [{key: a, effect: Never}]}`, `effect "Never"`},
		{`{tolerations: [{key: a, tolerationSeconds: 1}]}`, "needs the effect NoExecute"},
		{`{ingress: {host: "https://a.org"}}`, `ingress.host "https://a.org"`},
		{`{ingress: {host: A.org}}`, `ingress.host "A.org"`},
		{`{ingress: {className: "a b"}}`, `ingress.className "a b"`},
		{`{storageClassName: "a b"}`, `storageClassName "a b"`},
		{`{images: [{from: "https://r.io", to: m}]}`, `images: "https://r.io"`},
		{`{images: [{from: r.io, to: /}]}`, `images: "/"`},
		{`{images: [{from: "r.io/a@sha256", to: m}]}`, `images: "r.io/a@sha256"`},
	} {
		got := Invalid(given(t, tt.remap))
		if (tt.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "|"), tt.want) {
			t.Errorf("%s: got %q, want %q", tt.remap, got, tt.want)
		}
	}
	if got := Invalid(nil); got != nil {
		t.Error(got)
	}
}

func TestHosts(t *testing.T) {
	if got := Hosts([]*unstructured.Unstructured{object(t, newForm), object(t, oldForm), object(t, noHost), object(t, newForm)}); !slices.Equal(got, []string{"a.org", "www.a.org", "b.org", "cht.example.org"}) {
		t.Errorf("got %v", got)
	}
	if text := tolerationText(corev1.Toleration{Operator: corev1.TolerationOpExists}); text != "all" {
		t.Errorf("got %s", text)
	}
}
