package chart_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// What is wrong is refused before anything is installed, and the message names the key.
func TestBackupSchemaRefuses(t *testing.T) {
	for values, names := range map[string]string{
		"{imagee: {}}":                                              "imagee",
		"{image: {tagg: x}}":                                        "tagg",
		"{image: {tag: 'a b'}}":                                     "/image/tag",
		"{image: {tag: 1.2}}":                                       "/image/tag",
		"{image: {digest: 'sha256:abc'}}":                           "/image/digest",
		"{image: {repository: ''}}":                                 "/image/repository",
		"{image: {repository: 'r.example/x:1'}}":                    "/image/repository",
		"{image: {pullPolicy: Sometimes}}":                          "/image/pullPolicy",
		"{imagePullSecrets: [pull]}":                                "/imagePullSecrets/0",
		"{fullnameOverride: Medic_Backup}":                          "/fullnameOverride",
		"{namespaces: medic}":                                       "/namespaces",
		"{namespaces: ['']}":                                        "/namespaces/0",
		"{rbac: {scope: namespaced}}":                               "/rbac/scope",
		"{rbac: {tenant: false}}":                                   "tenant",
		"{rbac: {create: 'no'}}":                                    "/rbac/create",
		"{serviceAccount: {name: 'A'}}":                             "/serviceAccount/name",
		"{serviceAccount: {annotations: {a: 1}}}":                   "/serviceAccount/annotations/a",
		"{crds: {upgrade: maybe}}":                                  "/crds/upgrade",
		"{config: {parallel-backup: 3}}":                            "parallel-backup",
		"{config: {parallelBackups: 3}}":                            "parallelBackups",
		"{config: {parallel-backups: 0}}":                           "/config/parallel-backups",
		"{config: {parallel-backups: many}}":                        "/config/parallel-backups",
		"{config: {parallel-backups-per-driver: [ebs=0]}}":          "/config/parallel-backups-per-driver/0",
		"{config: {parallel-drills: -1}}":                           "/config/parallel-drills",
		"{config: {lease-duration: 15}}":                            "/config/lease-duration",
		"{config: {lease-duration: 15 seconds}}":                    "/config/lease-duration",
		"{config: {requests-per-second: 0}}":                        "/config/requests-per-second",
		"{config: {isolation-outside: [10.0.0.1]}}":                 "/config/isolation-outside/0",
		"{config: {metrics-address: 8080}}":                         "/config/metrics-address",
		"{config: {catalog-url: /var/lib}}":                         "/config/catalog-url",
		"{config: {catalog-show-newest: 5000}}":                     "/config/catalog-show-newest",
		"{config: {ebs-calls-per-second: [fast]}}":                  "/config/ebs-calls-per-second/0",
		"{config: {cluster-name: 'a/b'}}":                           "/config/cluster-name",
		"{config: {namespaces: [a]}}":                               "namespaces",
		"{config: {image: x}}":                                      "image",
		"{controller: {env: [{value: x}]}}":                         "/controller/env/0",
		"{controller: {env: {A: b}}}":                               "/controller/env",
		"{controller: {env: [{name: A, value: 1}]}}":                "/controller/env/0/value",
		"{controller: {catalog: {url: bucket}}}":                    "/controller/catalog/url",
		"{controller: {catalog: {recipients: [AGE-SECRET-KEY-1]}}}": "/controller/catalog/recipients/0",
		"{controller: {catalog: {syncInterval: 10}}}":               "/controller/catalog/syncInterval",
		"{controller: {catalog: {volume: {size: big}}}}":            "/controller/catalog/volume/size",
		"{controller: {catalog: {volume: {sise: 1Gi}}}}":            "sise",
		"{podLabels: {a: true}}":                                    "/podLabels/a",
		"{tolerations: {}}":                                         "/tolerations",
		"{networkPolicy: {egress: {}}}":                             "/networkPolicy/egress",
		"{networkPolicy: {enable: true}}":                           "enable",
	} {
		_, err := tryBackup(inSystem, values)
		if err == nil || !strings.Contains(err.Error(), "schema") || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

func TestBackupSchemaTakes(t *testing.T) {
	for _, values := range []string{
		"{enabled: true, global: {registry: x}}",
		`{namespaces: ["{{ .Release.Namespace }}", b]}`,
		"{image: {repository: 'localhost:5000/a/cht-backup', tag: v1.2.3-rc.1_x}}",
		"{config: {parallel-backups-per-driver: [24, ebs.csi.aws.com=40], catalog-sync-interval: 0, lease-duration: 1m30s, requests-per-second: 12.5, ebs-calls-per-second: ['4/40', 'CreateSnapshot=2'], metrics-address: ':9090', health-address: '0'}}",
		"{controller: {env: [{name: AWS_REGION, valueFrom: {secretKeyRef: {name: a, key: b}}}], envFrom: [{secretRef: {name: x}}]}}",
	} {
		if _, err := tryBackup(inSystem, values); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// Nowhere in the schema is a key taken that nobody knows, but where Kubernetes' own
// types or names of others' choice stand; and everything says what it is.
func TestBackupSchemaIsClosed(t *testing.T) {
	raw, err := os.ReadFile(backupChart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Type                 any              `json:"type"`
		Description          string           `json:"description"`
		AdditionalProperties any              `json:"additionalProperties"`
		Properties           map[string]*node `json:"properties"`
	}
	var walk func(path string, n *node)
	open := map[string]bool{"/affinity": true, "/resources": true, "/global": true, "/controller/env/valueFrom": true}
	walk = func(path string, n *node) {
		if path != "" && n.Description == "" && len(n.Properties) == 0 {
			t.Errorf("%s: says nothing", path)
		}
		if n.Type == "object" && n.AdditionalProperties == nil && !open[path] {
			t.Errorf("%s: takes any key", path)
		}
		for name, child := range n.Properties {
			walk(path+"/"+name, child)
		}
	}
	var root node
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	walk("", &root)
	// And what values.yaml has, the schema knows.
	if root.AdditionalProperties != false || len(root.Properties) < 20 {
		t.Errorf("%d keys", len(root.Properties))
	}
}
