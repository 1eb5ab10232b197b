package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/chart"
	"github.com/medic/cht-backup/integration/chart/score"
)

// foreign are groups of kinds that the charts use where a cluster has them, and that the
// testbed has not: their own operators' types are what those objects are held to.
var foreign = map[string]bool{"monitoring.coreos.com": true}

// furtherCases are parts that are off by default or exclude each other, beside every
// platform and topology.
func furtherCases() []score.Case {
	stack := func(name, values string) score.Case {
		return score.Case{Name: name, Chart: "charts/cht", Values: `
image: {registry: registry.example.org/cht, tag: 5.1.0}
images: {upgradeService: "registry.example.org/upgrade-service:0.32"}
` + values}
	}
	cases := []score.Case{
		stack("everything off", `
nouveau: {enabled: false}
healthcheck: {enabled: false}
sentinel: {enabled: false}
upgradeService: {enabled: false}
backup: {enabled: false}
ingress: {type: none}
cht-backup: {enabled: false}`),
		stack("drills, retention, pinned nodes", `
imagePullSecrets: [{name: pull}]
credentials: {existingSecret: cht-couchdb-credentials}
couchdb: {nodes: 3, spread: required, tolerations: [{key: couchdb-only, operator: Exists}], perNode: [{nodeName: a}, {nodeName: b}, {nodeName: c, dataSubPath: ""}]}
ingress: {host: cht.example.org, tls: {secretName: tls}}
backup: {keep: {last: 3, hourly: 24, yearly: 5, within: 48h}, drill: {enabled: true}, spec: {maxStall: 20s}}
cht-backup: {rbac: {scope: Namespaced}, controller: {catalog: {url: s3://bucket/prefix}}}`),
		{Name: "controller with a catalog in a bucket", Chart: "charts/cht-backup", Values: `
controller: {env: [{name: AWS_REGION, value: eu-west-2}], catalog: {url: "s3://bucket/prefix", recipients: [age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq]}}
serviceAccount: {annotations: {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/cht"}}`},
		{Name: "controller with metrics", Chart: "charts/cht-backup", Values: "metrics: {podMonitor: {enabled: true}, serviceMonitor: {enabled: true}, rules: {enabled: true}, dashboard: {enabled: true}}"},
	}
	for _, volume := range []string{"ebs: {volumeId: vol-0123456789abcdef0}", "awsElasticBlockStore: {volumeId: 'aws://eu-west-2a/vol-0123456789abcdef0'}",
		"gcePd: {volumeHandle: projects/p/zones/z/disks/d}", "gcePersistentDisk: {pdName: d}", "vsphere: {volumeHandle: h}",
		"vsphereVolume: {volumePath: '[s] p'}", "hostPath: {path: /data}", "local: {path: /data}, nodeName: a", "claim: mine"} {
		kind, _, _ := strings.Cut(volume, ":")
		cases = append(cases, stack("a volume that was there: "+kind, fmt.Sprintf("couchdb: {existingVolumes: [{%s, size: 10Gi}]}", volume)))
	}
	return cases
}

// TestChartsAccepted has the API server look at every object of both charts, for every
// platform and topology, as if it were to be stored.
func TestChartsAccepted(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 5*time.Minute)
	namespace := c.TempNamespace(t, "charts")
	home := c.TempNamespaceNamed(t, controllerOf(namespace))
	number, left := 0, map[string]bool{}
	for _, one := range append(score.Cases(), furtherCases()...) {
		// The cases are for namespace clinic.
		values, err := chart.Values(strings.ReplaceAll(one.Values, "clinic", namespace))
		if err != nil {
			t.Fatal(err)
		}
		r, err := chart.Render(c.ChartFolder(strings.TrimPrefix(one.Chart, "charts/")), values,
			chart.Release{Name: "cht", Namespace: namespace, APIs: []string{"monitoring.coreos.com/v1", "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule", "monitoring.coreos.com/v1/ServiceMonitor"}})
		if err != nil {
			t.Errorf("%s: %v", one.Name, err)
			continue
		}
		for _, all := range [][]*unstructured.Unstructured{r.CRDs, r.Objects, r.Hooks} {
			for _, o := range all {
				err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("e2e-charts"), client.ForceOwnership, client.DryRunAll)
				if group := o.GroupVersionKind().Group; meta.IsNoMatchError(err) && foreign[group] {
					left[o.GetKind()+" of "+group] = true
					continue
				}
				if number++; err != nil {
					t.Errorf("%s: %s %s: %v", one.Name, o.GetKind(), o.GetName(), err)
				}
			}
		}
	}
	t.Logf("%d objects in %s and %s; left out, since the cluster does not know them: %v", number, namespace, home, left)
	if number < 500 {
		t.Errorf("only %d objects were looked at", number)
	}
}
