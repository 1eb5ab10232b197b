package restore

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return o
}

// services are those of a three-node CHT.
func services(t *testing.T) (all []*unstructured.Unstructured) {
	t.Helper()
	for _, name := range []string{"couchdb-1", "couchdb-2", "couchdb-3", "nouveau-1", "api", "haproxy", "healthcheck", "upgrade-service"} {
		all = append(all, object(t, "{apiVersion: v1, kind: Service, metadata: {name: "+name+", namespace: cht}}"))
	}
	return all
}

func TestRewriteText(t *testing.T) {
	tests := []struct{ name, from, in, want string }{
		{"FQDN", "cht", "haproxy.cht.svc.cluster.local", "haproxy.new.svc.cluster.local"},
		{"up to svc", "cht", "haproxy.cht.svc", "haproxy.new.svc"},
		{"with a dot at the end", "cht", "haproxy.cht.svc.cluster.local.", "haproxy.new.svc.cluster.local."},
		{"service and namespace only", "cht", "haproxy.cht:5984", "haproxy.new:5984"},
		{"a service of another chart, in full", "cht", "postgres.cht.svc.cluster.local", "postgres.new.svc.cluster.local"},
		{"no service of the instance, short", "cht", "www.cht", "www.cht"},
		{"a pod of a headless service", "cht", "couchdb-0.couchdb.cht.svc.cluster.local", "couchdb-0.couchdb.new.svc.cluster.local"},
		{"COUCH_URL", "cht", "http://medic:p%40ss%2Fw%3Ard@haproxy.cht.svc.cluster.local:5984/medic", "http://medic:p%40ss%2Fw%3Ard@haproxy.new.svc.cluster.local:5984/medic"},
		{"a list", "cht", "couchdb-1.cht.svc.cluster.local,couchdb-2.cht.svc.cluster.local,couchdb-3.cht.svc.cluster.local",
			"couchdb-1.new.svc.cluster.local,couchdb-2.new.svc.cluster.local,couchdb-3.new.svc.cluster.local"},
		{"an Erlang name", "cht", "couchdb@couchdb-1.cht.svc.cluster.local", "couchdb@couchdb-1.new.svc.cluster.local"},
		{"short names", "cht", "http://nouveau:5987 api couchdb-1", "http://nouveau:5987 api couchdb-1"},
		{"the outside", "cht", "https://cht.example.org/api.cht.html", "https://cht.example.org/api.cht.html"},
		{"part of a word", "cht", "haproxy.cht-prod.svc.cluster.local mycht cht-api medicmobile/cht-api:5.0", "haproxy.cht-prod.svc.cluster.local mycht cht-api medicmobile/cht-api:5.0"},
		{"a host of the outside that begins like it", "cht", "cht.svc.example.org", "cht.svc.example.org"},
		{"capitals", "cht", "HAProxy.CHT.SVC.cluster.local API.Cht:1", "HAProxy.new.SVC.cluster.local API.new:1"},
		{"all names of the namespace", "cht", "*.cht.svc.cluster.local,.cht.svc localhost,.svc,.cht", "*.new.svc.cluster.local,.new.svc localhost,.svc,.cht"},
		{"another namespace's", "cht", "haproxy.other.svc.cluster.local", "haproxy.other.svc.cluster.local"},
		{"the namespace is called like a service", "api", "http://api.api.svc.cluster.local:5988 api.api api", "http://api.new.svc.cluster.local:5988 api.new api"},
		{"the namespace is called couchdb", "couchdb", "couchdb-1.couchdb.svc.cluster.local couchdb@couchdb-2.couchdb.svc.cluster.local /opt/couchdb/data couchdb",
			"couchdb-1.new.svc.cluster.local couchdb@couchdb-2.new.svc.cluster.local /opt/couchdb/data couchdb"},
		{"the namespace is called svc", "svc", "haproxy.svc.svc.cluster.local", "haproxy.new.svc.cluster.local"},
		{"the namespace is called cluster", "cluster", "haproxy.cluster.svc.cluster.local", "haproxy.new.svc.cluster.local"},
		{"of a Compose project", "medic.compose", "http://haproxy.medic.compose.svc.cluster.local:5984 couchdb@couchdb-1.medic.compose.svc.cluster.local haproxy.medic.compose:1 api.medic.svc medic.compose",
			"http://haproxy.new.svc.cluster.local:5984 couchdb@couchdb-1.new.svc.cluster.local haproxy.new:1 api.medic.svc medic.compose"},
		{"a number for a namespace", "0", "couchdb@127.0.0.1 haproxy.0.svc", "couchdb@127.0.0.1 haproxy.new.svc"},
		{"in JSON in a text", "cht", `{"url":"http://api.cht.svc.cluster.local:5988"}`, `{"url":"http://api.new.svc.cluster.local:5988"}`},
		{"in an ini", "cht", "[cluster]\nseed = couchdb@couchdb-1.cht.svc.cluster.local\n", "[cluster]\nseed = couchdb@couchdb-1.new.svc.cluster.local\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := newRewriter(tt.from, "new", services(t)).text(tt.in); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Every place that cht.md names.
func TestRewriteObject(t *testing.T) {
	secretOf := func(ns string) string {
		url := base64.StdEncoding.EncodeToString([]byte("http://medic:p%40ss@haproxy." + ns + ".svc.cluster.local:5984/medic"))
		binary := base64.StdEncoding.EncodeToString([]byte("\xff\xfehaproxy.cht.svc"))
		return `
apiVersion: v1
kind: Secret
metadata: {name: cht-couchdb-credentials, namespace: ` + ns + `}
data: {COUCHDB_USER: bWVkaWM=, COUCHDB_PASSWORD: cEBzcw==, COUCH_URL: ` + url + `, keystore: ` + binary + `, empty: ""}`
	}
	tests := []struct{ name, in, want string }{
		{"the Secret", secretOf("cht"), secretOf("new")},
		{"the ConfigMap", `
apiVersion: v1
kind: ConfigMap
metadata: {name: couchdb-servers-configmap, namespace: cht}
data:
  COUCHDB_SERVERS: couchdb-1.cht.svc.cluster.local,couchdb-2.cht.svc.cluster.local
  COUCHDB_SYNC_ADMINS_NODE: couchdb-1.cht.svc.cluster.local
  CLUSTER_PEER_IPS: couchdb-2.cht.svc.cluster.local
  plain: cht
binaryData: {a: ` + base64.StdEncoding.EncodeToString([]byte("http://api.cht.svc")) + `, b: /w==}`, `
apiVersion: v1
kind: ConfigMap
metadata: {name: couchdb-servers-configmap, namespace: new}
data:
  COUCHDB_SERVERS: couchdb-1.new.svc.cluster.local,couchdb-2.new.svc.cluster.local
  COUCHDB_SYNC_ADMINS_NODE: couchdb-1.new.svc.cluster.local
  CLUSTER_PEER_IPS: couchdb-2.new.svc.cluster.local
  plain: cht
binaryData: {a: ` + base64.StdEncoding.EncodeToString([]byte("http://api.new.svc")) + `, b: /w==}`},
		{"the environment", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cht-couchdb-1, namespace: cht, annotations: {meta.helm.sh/release-namespace: cht, meta.helm.sh/release-name: cht}, labels: {app: cht}}
spec:
  template:
    spec:
      containers:
      - name: cht
        image: medicmobile/cht-couchdb:5.0.0
        args: ["--peer=couchdb-2.cht.svc"]
        env:
        - {name: SVC_NAME, value: couchdb-1.cht.svc.cluster.local}
        - {name: API_HOST, value: api.cht.svc.cluster.local}
        - {name: HEALTHCHECK_ADDR, value: healthcheck.cht.svc.cluster.local}
        - {name: NOUVEAU_URL, value: "http://nouveau-1:5987"}
        - {name: CHT_NAMESPACE, value: cht}
        - {name: PROJECT, value: cht}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}`, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cht-couchdb-1, namespace: new, annotations: {meta.helm.sh/release-namespace: new, meta.helm.sh/release-name: cht}, labels: {app: cht}}
spec:
  template:
    spec:
      containers:
      - name: cht
        image: medicmobile/cht-couchdb:5.0.0
        args: ["--peer=couchdb-2.new.svc"]
        env:
        - {name: SVC_NAME, value: couchdb-1.new.svc.cluster.local}
        - {name: API_HOST, value: api.new.svc.cluster.local}
        - {name: HEALTHCHECK_ADDR, value: healthcheck.new.svc.cluster.local}
        - {name: NOUVEAU_URL, value: "http://nouveau-1:5987"}
        - {name: CHT_NAMESPACE, value: new}
        - {name: PROJECT, value: cht}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}`},
		{"the RoleBinding", `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: cht}
roleRef: {kind: Role, name: deployment-manager}
subjects: [{kind: ServiceAccount, name: cht-upgrade-service-user, namespace: cht}, {kind: ServiceAccount, name: ci, namespace: tools}, {kind: User, name: cht}]`, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: new}
roleRef: {kind: Role, name: deployment-manager}
subjects: [{kind: ServiceAccount, name: cht-upgrade-service-user, namespace: new}, {kind: ServiceAccount, name: ci, namespace: tools}, {kind: User, name: cht}]`},
		{"the ingress", `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: api-ingress, namespace: cht}
spec: {rules: [{host: cht.example.org, http: {paths: [{path: /, backend: {service: {name: api, port: {number: 5988}}}}]}}]}`, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: api-ingress, namespace: new}
spec: {rules: [{host: cht.example.org, http: {paths: [{path: /, backend: {service: {name: api, port: {number: 5988}}}}]}}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := object(t, tt.in)
			before, _ := json.Marshal(in.Object)
			got, _ := json.Marshal(newRewriter("cht", "new", services(t)).object(in).Object)
			want, _ := json.Marshal(object(t, tt.want).Object)
			if string(got) != string(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if after, _ := json.Marshal(in.Object); string(after) != string(before) {
				t.Error("the record's object was changed")
			}
		})
	}
}

// For any namespace names and any place in an object: no DNS name of the
// source's namespace survives, or the clone could reach its source.
func TestRewriteLeavesNoName(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for range 2000 {
		from := pick("cht", "api", "couchdb", "c", "cht-1", "svc", "local", "haproxy", "x0")
		service := pick("couchdb-1", "haproxy", "api", "healthcheck", "upgrade-service", "nouveau-1")
		name := service + "." + from + pick(".svc.cluster.local", ".svc", ".svc.cluster.local.", "")
		text := pick("", "http://", "http://medic:p%40ss@", "couchdb@", "a,", "x=", `{"h":"`, "\n", "tcp://[", "(") + name + pick("", ":5984", "/medic", ",b", `"}`, " ", "\n", ")")
		o := object(t, `{apiVersion: v1, kind: `+pick("Secret", "ConfigMap", "Deployment", "Service")+`, metadata: {name: n, namespace: `+from+`}}`)
		switch value := text; pick("data", "deep", "annotation") {
		case "data":
			if o.GetKind() == "Secret" {
				value = base64.StdEncoding.EncodeToString([]byte(text))
			}
			_ = unstructured.SetNestedField(o.Object, value, "data", "K")
		case "deep":
			_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"env": []any{map[string]any{"name": "A", "value": value}, value}}}, "spec", "list")
		case "annotation":
			o.SetAnnotations(map[string]string{"a": value})
		}
		got := newRewriter(from, "the-clone", services(t)).object(o)
		raw, _ := json.Marshal(got.Object)
		all := string(raw)
		if data, _, _ := unstructured.NestedString(got.Object, "data", "K"); o.GetKind() == "Secret" {
			decoded, _ := base64.StdEncoding.DecodeString(data)
			all += string(decoded)
		}
		old := regexp.MustCompile(regexp.QuoteMeta(service+"."+from) + `(\.svc|[^a-z0-9.-]|$)`)
		if old.MatchString(all) && (from != "svc" || !strings.HasSuffix(name, "."+from)) {
			t.Fatalf("%q survives in %s", name, all)
		}
		if !strings.Contains(all, service+".the-clone") {
			t.Fatalf("%q was not rewritten: %s", text, all)
		}
	}
}

func TestErlangName(t *testing.T) {
	r := newRewriter("cht", "new", services(t))
	for old, want := range map[string]string{
		"couchdb@127.0.0.1": "couchdb@127.0.0.1", "couchdb@couchdb-2.cht.svc.cluster.local": "couchdb@couchdb-2.new.svc.cluster.local", "nonode": "nonode",
	} {
		if got := r.erlangName(old); got != want {
			t.Errorf("%s became %s, want %s", old, got, want)
		}
	}
}
