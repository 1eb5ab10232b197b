package main

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// rendered is the chart with some values.
type rendered struct {
	settings   map[string]any
	deployment appsv1.Deployment
	claim      *corev1.PersistentVolumeClaim
	account    string
	notes      string
}

func render(t *testing.T, values string) rendered {
	t.Helper()
	chart, err := loader.Load("../../charts/cht-backup")
	if err != nil {
		t.Fatal(err)
	}
	var given map[string]any
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(chart, given, chartutil.ReleaseOptions{Name: "cht-backup", Namespace: "system", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(text string, into any) {
		t.Helper()
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	r := rendered{notes: files["cht-backup/templates/NOTES.txt"], account: files["cht-backup/templates/rbac.yaml"]}
	documents := strings.Split(files["cht-backup/templates/deployment.yaml"], "\n---\n")
	var settings corev1.ConfigMap
	decode(documents[0], &settings)
	decode(settings.Data["config.yaml"], &r.settings)
	decode(documents[1], &r.deployment)
	if text := strings.TrimSpace(files["cht-backup/templates/catalog.yaml"]); text != "" {
		r.claim = &corev1.PersistentVolumeClaim{}
		decode(text, r.claim)
	}
	return r
}

func TestChartCatalog(t *testing.T) {
	for name, tt := range map[string]struct {
		values        string
		url           any
		claims, mount string // the claim that is made, and the one that is mounted
		notes         string
	}{
		"by default":       {"", "file:///var/lib/cht-backup/catalog", "cht-backup-catalog", "cht-backup-catalog", "IS LOST WITH IT"},
		"a claim given":    {"controller: {catalog: {volume: {existingClaim: mine}}}", "file:///var/lib/cht-backup/catalog", "", "mine", "(mine) and IS LOST WITH IT"},
		"a bucket":         {"controller: {catalog: {url: 's3://b/p', recipients: [age1x]}}", "s3://b/p", "", "", "Records are also kept in the catalog s3://b/p"},
		"by the setting":   {"config: {catalog-url: 'gs://b'}", "gs://b", "", "", "Records are also kept in the catalog gs://b"},
		"none":             {"controller: {catalog: {url: none}}", nil, "", "", "no catalog is configured"},
		"none by volume":   {"controller: {catalog: {volume: {enabled: false}}}", nil, "", "", "no catalog is configured"},
		"what stays plain": {"config: {parallel-backups: 3}", "file:///var/lib/cht-backup/catalog", "cht-backup-catalog", "cht-backup-catalog", "No recipient is configured"},
	} {
		t.Run(name, func(t *testing.T) {
			r := render(t, tt.values)
			spec := r.deployment.Spec.Template.Spec
			mount := ""
			for _, v := range spec.Volumes {
				if v.PersistentVolumeClaim != nil {
					mount = v.PersistentVolumeClaim.ClaimName
				}
			}
			claim := ""
			if r.claim != nil {
				claim = r.claim.Name
			}
			if r.settings["catalog-url"] != tt.url || claim != tt.claims || mount != tt.mount || !strings.Contains(r.notes, tt.notes) {
				t.Errorf("settings %v, claim %q, mounts %q, notes\n%s", r.settings, claim, mount, r.notes)
			}
			// A volume for one node only, written to by one that is not root.
			if onVolume := tt.mount != ""; onVolume != (r.deployment.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType) || onVolume != (spec.SecurityContext.FSGroup != nil) {
				t.Errorf("strategy %v, security %+v", r.deployment.Spec.Strategy, spec.SecurityContext)
			}
			if c := spec.Containers[0].SecurityContext; !*c.ReadOnlyRootFilesystem || *c.AllowPrivilegeEscalation || !*spec.SecurityContext.RunAsNonRoot {
				t.Errorf("security %+v", c)
			}
		})
	}
	r := render(t, `
controller: {env: [{name: AWS_REGION, value: eu-west-1}], envFrom: [{secretRef: {name: keys}}], catalog: {url: "s3://b", recipients: [age1x, age1y], syncInterval: 0}}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/r"}}`)
	c := r.deployment.Spec.Template.Spec.Containers[0]
	if e := c.Env[len(c.Env)-1]; e.Name != "AWS_REGION" || len(c.EnvFrom) != 1 || c.EnvFrom[0].SecretRef.Name != "keys" || !strings.Contains(r.account, "role/r") {
		t.Errorf("env %v, from %v, account %s", c.Env, c.EnvFrom, r.account)
	}
	if got := r.settings["catalog-recipients"].([]any); len(got) != 2 || r.settings["catalog-sync-interval"] != "0" {
		t.Errorf("settings %v", r.settings)
	}
}
