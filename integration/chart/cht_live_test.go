package chart

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// scheduleAPI is served once the CRDs are there.
const scheduleAPI = "backup.communityhealthtoolkit.org/v1alpha1/BackupSchedule"

// live is an object of the cluster in namespace clinic, of release cht unless it says
// otherwise.
func live(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetNamespace("clinic")
	if o.GetAnnotations() == nil {
		o.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "cht"})
	}
	return o
}

func liveSecret(t *testing.T, data map[string]string) *unstructured.Unstructured {
	t.Helper()
	o := live(t, "{apiVersion: v1, kind: Secret, metadata: {name: cht-couchdb-credentials}}")
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	o.Object["data"] = encoded
	return o
}

var madeBefore = map[string]string{"COUCHDB_USER": "medic", "COUCHDB_PASSWORD": "pw-before", "COUCHDB_SECRET": "s", "COUCHDB_UUID": "u",
	"COUCH_URL": "http://medic:pw-before@haproxy.clinic.svc.cluster.local:5984/medic-test", "MORE": "kept"}

// dataOf gives the Secret that the chart makes, decoded.
func dataOf(t *testing.T, r *Rendered, name string) map[string]string {
	t.Helper()
	o := r.Find("Secret", name)
	if o == nil {
		t.Fatalf("no Secret %s", name)
	}
	encoded, _, _ := unstructured.NestedStringMap(o.Object, "data")
	data := map[string]string{}
	for k, v := range encoded {
		raw, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		data[k] = string(raw)
	}
	return data
}

func renderLive(t *testing.T, text string, upgrade bool, objects ...*unstructured.Unstructured) (*Rendered, error) {
	t.Helper()
	return Render(chtFolder, chtAlone(t, text), Release{Name: "cht", Namespace: "clinic", Upgrade: upgrade, APIs: []string{scheduleAPI}, Live: objects})
}

func TestCredentialsAreMadeOnceAndKept(t *testing.T) {
	first, second := dataOf(t, renderCHT(t, ""), "cht-couchdb-credentials"), dataOf(t, renderCHT(t, ""), "cht-couchdb-credentials")
	for key, value := range first {
		if value == "" || (key != "COUCHDB_USER" && second[key] == value) {
			t.Errorf("%s is %q in two installations, or empty", key, value)
		}
	}
	if len(first["COUCHDB_PASSWORD"]) < 32 || first["COUCHDB_USER"] != "medic" {
		t.Errorf("user and password are made as %v", first)
	}
	r, err := renderLive(t, "credentials: {password: pw-before}", true, liveSecret(t, madeBefore))
	if err != nil {
		t.Fatal(err)
	}
	kept := dataOf(t, r, "cht-couchdb-credentials")
	for key, value := range madeBefore {
		if kept[key] != value {
			t.Errorf("%s was %q and is %q after an upgrade", key, value, kept[key])
		}
	}
	if r.Find("Secret", "cht-couchdb-credentials").GetAnnotations()["helm.sh/resource-policy"] != "keep" {
		t.Error("uninstalling takes the password along that the volumes need")
	}
}

func TestWhatIsMissingIsAddedToTheSecret(t *testing.T) {
	r, err := renderLive(t, "", true, liveSecret(t, map[string]string{"COUCHDB_USER": "a", "COUCHDB_PASSWORD": "b c"}))
	if err != nil {
		t.Fatal(err)
	}
	if d := dataOf(t, r, "cht-couchdb-credentials"); d["COUCH_URL"] != "http://a:b%20c@haproxy.clinic.svc.cluster.local:5984/medic" || d["COUCHDB_UUID"] == "" {
		t.Errorf("the Secret is made whole as %v", d)
	}
}

func TestExistingSecret(t *testing.T) {
	const values = "credentials: {existingSecret: cht-couchdb-credentials}"
	r, err := renderLive(t, values, false, liveSecret(t, madeBefore))
	if err != nil {
		t.Fatal(err)
	}
	if r.Find("Secret", "cht-couchdb-credentials") != nil {
		t.Error("the Secret is made though it is given")
	}
	for missing := range madeBefore {
		if missing == "MORE" {
			continue
		}
		part := map[string]string{}
		for k, v := range madeBefore {
			if k != missing {
				part[k] = v
			}
		}
		if _, err := renderLive(t, values, false, liveSecret(t, part)); err == nil || !strings.Contains(err.Error(), "has no "+missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	mine := liveSecret(t, madeBefore)
	mine.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "secrets"})
	if _, err := renderLive(t, values, false, mine); err != nil {
		t.Errorf("a Secret made by another release is not taken: %v", err)
	}
}

func TestNginxCertificateIsKept(t *testing.T) {
	const values = "ingress: {type: nginx, host: cht.example.org}"
	made := dataOf(t, renderCHT(t, values), "cht-nginx-tls")
	if !strings.HasPrefix(made["tls.crt"], "-----BEGIN CERTIFICATE-----") {
		t.Fatalf("the certificate is %q", made["tls.crt"])
	}
	there := live(t, "{apiVersion: v1, kind: Secret, metadata: {name: cht-nginx-tls}, data: {tls.crt: YQ==, tls.key: Yg==}}")
	r, err := renderLive(t, values, true, there)
	if err != nil {
		t.Fatal(err)
	}
	if d := dataOf(t, r, "cht-nginx-tls"); d["tls.crt"] != "a" || d["tls.key"] != "b" {
		t.Errorf("the certificate that was there became %v", d)
	}
}

// TestClaimsNameTheirClassAsBefore: a claim refuses every change of its class, also that
// to naming none, and a rollback is such a change backwards.
func TestClaimsNameTheirClassAsBefore(t *testing.T) {
	claim := func(annotation, class string) *unstructured.Unstructured {
		o := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0}, spec: {storageClassName: '"+class+"', volumeName: pvc-1, resources: {requests: {storage: 50Gi}}}}")
		if annotation != "" {
			o.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "cht", "communityhealthtoolkit.org/storage-class": annotation})
		}
		return o
	}
	for _, c := range []struct {
		name, values string
		there        *unstructured.Unstructured
		names        any // nil where no class is named
		remembers    string
	}{
		{"the first time, by the cluster's default", "", nil, nil, "<default>"},
		{"the first time, by the platform", "platform: k3s", nil, "local-path", "local-path"},
		{"the default is still not named", "", claim("<default>", "standard"), nil, "<default>"},
		{"not even where the values name it by now", "couchdb: {storage: {className: standard}}", claim("<default>", "standard"), nil, "<default>"},
		{"nor where the platform's is another", "platform: k3s", claim("<default>", "standard"), nil, "<default>"},
		{"one that was named still is", "", claim("gp3", "gp3"), "gp3", "gp3"},
		{"one of another chart is, and is remembered", "platform: eks\ningress: {type: none}", claim("", "ebs-gp2"), "ebs-gp2", "ebs-gp2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var there []*unstructured.Unstructured
			if c.there != nil {
				there = append(there, c.there)
			}
			r, err := renderLive(t, c.values, true, there...)
			if err != nil {
				t.Fatal(err)
			}
			o := r.Find("PersistentVolumeClaim", "couchdb-claim0")
			spec := o.Object["spec"].(map[string]any)
			if spec["storageClassName"] != c.names || o.GetAnnotations()["communityhealthtoolkit.org/storage-class"] != c.remembers || spec["volumeName"] != nil {
				t.Errorf("the claim is %v, with %v", spec, o.GetAnnotations())
			}
		})
	}
	r, err := renderLive(t, "couchdb: {existingVolumes: [{hostPath: {path: /srv}, storageClassName: local-path}]}", true,
		live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0}, spec: {storageClassName: '', volumeName: couchdb-pv-clinic, resources: {requests: {storage: 1Gi}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	if spec := r.Find("PersistentVolumeClaim", "couchdb-claim0").Object["spec"].(map[string]any); spec["storageClassName"] != "" || spec["volumeName"] != "couchdb-pv-clinic" {
		t.Errorf("a claim of the CHT's chart on a host path becomes %v", spec)
	}
}

// TestCHTRefusesWhatTheClusterForbids: an upgrade that would lose data, lock the CHT out
// or fail half way is refused before anything is changed.
func TestCHTRefusesWhatTheClusterForbids(t *testing.T) {
	servers := live(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: couchdb-servers-configmap}, data: {COUCHDB_SERVERS: 'a,b,c'}}")
	single := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0}, spec: {storageClassName: gp3, volumeName: v, resources: {requests: {storage: 1Ti}}}}")
	fourth := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-4-claim0}, spec: {resources: {requests: {storage: 1Gi}}}}")
	static := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0}, spec: {storageClassName: '', volumeName: couchdb-pv-clinic, resources: {requests: {storage: 1Gi}}}}")
	others := live(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: couchdb-servers-configmap, annotations: {meta.helm.sh/release-name: first}}, data: {COUCHDB_SERVERS: a}}")
	left := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0, annotations: {meta.helm.sh/release-name: gone}}, spec: {resources: {requests: {storage: 1Gi}}}}")
	api := func(image string) *unstructured.Unstructured {
		return live(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-api}, spec: {template: {spec: {containers: [{image: '"+image+"'}]}}}}")
	}
	past := maps.Clone(madeBefore)
	past["COUCH_URL"] = "http://medic:pw-x@couchdb.clinic.svc.cluster.local:5984/medic"
	leadsPast := liveSecret(t, past)
	all := func(o ...*unstructured.Unstructured) []*unstructured.Unstructured { return o }
	for _, c := range []struct {
		name, values string
		upgrade      bool
		there        []*unstructured.Unstructured
		says         string // "" where it is taken
	}{
		{"another password", "credentials: {password: pw-after}", true, all(liveSecret(t, madeBefore)), "credentials.password differs from COUCHDB_PASSWORD in Secret clinic/cht-couchdb-credentials"},
		{"another user", "credentials: {user: admin}", true, all(liveSecret(t, madeBefore)), "credentials.user differs"},
		{"another cookie secret", "credentials: {secret: other}", true, all(liveSecret(t, madeBefore)), "credentials.secret differs"},
		{"another uuid, after an uninstallation", "credentials: {uuid: other}", false, all(liveSecret(t, madeBefore)), "credentials.uuid differs"},
		{"the same", "credentials: {user: medic, password: pw-before, secret: s, uuid: u}", true, all(liveSecret(t, madeBefore)), ""},

		{"a Secret that leads to another CHT", "", true, all(liveSecret(t, map[string]string{"COUCH_URL": "http://medic:pw-x@haproxy.production.svc.cluster.local:5984/medic"})), "does not lead to this CHT's HAProxy, haproxy.clinic.svc.cluster.local"},
		{"one that leads past HAProxy, given", "credentials: {existingSecret: cht-couchdb-credentials}", true, all(leadsPast), "does not lead to this CHT's HAProxy"},
		{"a short name, and a password with an at sign not escaped", "", true, all(liveSecret(t, map[string]string{"COUCH_URL": "http://medic:a@b@haproxy:5984/medic"})), ""},

		{"fewer nodes", "couchdb: {nodes: 2}", true, all(servers), "couchdb.nodes is 2 and this CHT has 3"},
		{"more nodes", "couchdb: {nodes: 5}", true, all(servers), "couchdb.nodes is 5 and this CHT has 3"},
		{"more nodes, meant", "couchdb: {nodes: 5, allowNodesChange: true}", true, all(servers), ""},
		{"as many", "couchdb: {nodes: 3}", true, all(servers), ""},
		{"three on the claims of one", "couchdb: {nodes: 3}", false, all(single), "there is claim clinic/couchdb-claim0"},
		{"three on the claims of four", "couchdb: {nodes: 3}", false, all(fourth), "there is claim clinic/couchdb-4-claim0"},
		{"one on its own claim", "couchdb: {storage: {size: 1Ti}}", false, all(single), ""},

		{"a smaller volume", "couchdb: {storage: {size: 1000Gi}}", true, all(single), "couchdb.storage.size is 1000Gi and claim clinic/couchdb-claim0 has 1Ti already"},
		{"a larger one in other units", "couchdb: {storage: {size: 1100G}}", true, all(single), ""},
		{"another class", "couchdb: {storage: {size: 1Ti, className: fast}}", true, all(single), `couchdb.storage.className is fast and claim clinic/couchdb-claim0 has "gp3"`},
		{"another volume", "couchdb: {storage: {size: 1Ti}, existingVolumes: [{ebs: {volumeId: vol-01234567}}]}", true, all(single), "bound to volume v, not to couchdb-pv-clinic"},

		{"a volume of a chart that is left out", "", true, all(static), "Helm would delete that PersistentVolume"},
		{"the same volume", "couchdb: {existingVolumes: [{ebs: {volumeId: vol-01234567}}]}", true, all(static), ""},

		{"another release's namespace", "", false, all(others), "ConfigMap clinic/couchdb-servers-configmap is of release first, and a namespace holds one CHT"},
		{"what another release left", "", false, all(left), "install it as gone again"},

		{"an older CHT", "image: {tag: 5.0.9}", true, all(api("registry.example.org/cht-api:5.0.10")), "image.tag is 5.0.9 and 5.0.10 runs"},
		{"an older one, meant", "image: {tag: 5.0.9, allowDowngrade: true}", true, all(api("r/cht-api:5.0.10")), ""},
		{"a newer one", "image: {tag: 5.0.11}", true, all(api("r/cht-api:5.0.10")), ""},
		{"a branch", "image: {tag: master}", true, all(api("r/cht-api:5.0.10")), ""},
		{"from a branch", "image: {tag: 5.0.0}", true, all(api("r/cht-api:9999-feature")), ""},
		{"an image by digest", `images: {api: "r/a@sha256:abc"}`, true, all(api("r/cht-api:5.0.10")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := renderLive(t, c.values, c.upgrade, c.there...)
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && err == nil:
				t.Error("was taken")
			case c.says != "" && !strings.Contains(err.Error(), c.says):
				t.Errorf("says %v, without %q", err, c.says)
			case err != nil && strings.Contains(err.Error(), "pw-"):
				t.Errorf("shows the passwords: %v", err)
			}
		})
	}
}

// TestUpgradeWithoutCRDs: the first upgrade from a release without them.
func TestUpgradeWithoutCRDs(t *testing.T) {
	for _, c := range []struct {
		values  string
		upgrade bool
		apis    []string
		refused bool
	}{
		{"", true, nil, true}, {"", true, []string{scheduleAPI}, false}, {"", false, nil, false}, {"backup: {enabled: false}", true, nil, false},
	} {
		_, err := Render(chtFolder, chtAlone(t, c.values), Release{Name: "cht", Namespace: "clinic", Upgrade: c.upgrade, APIs: c.apis})
		if (err != nil) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && !strings.Contains(err.Error(), "kubectl apply --server-side -f -") {
			t.Errorf("does not say what to do: %v", err)
		}
	}
}
