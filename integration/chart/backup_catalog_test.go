package chart_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestBackupCatalog(t *testing.T) {
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
			r := renderBackup(t, inSystem, tt.values)
			d := as[appsv1.Deployment](t, r, "Deployment", "cht-backup")
			spec := d.Spec.Template.Spec
			mount := ""
			for _, v := range spec.Volumes {
				if v.PersistentVolumeClaim != nil {
					mount = v.PersistentVolumeClaim.ClaimName
				}
			}
			claim := ""
			for _, o := range r.Objects {
				if o.GetKind() == "PersistentVolumeClaim" {
					claim = o.GetName()
					if o.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
						t.Error("uninstalling would take the catalog along")
					}
				}
			}
			if s := settings(t, r, "cht-backup"); s["catalog-url"] != tt.url || claim != tt.claims || mount != tt.mount || !strings.Contains(r.Notes, tt.notes) {
				t.Errorf("settings %v, claim %q, mounts %q, notes\n%s", s, claim, mount, r.Notes)
			}
			// A volume for one node only, written to by one that is not root.
			if onVolume := tt.mount != ""; onVolume != (d.Spec.Strategy.RollingUpdate != nil && d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue() == 0) || onVolume != (spec.SecurityContext.FSGroup != nil) {
				t.Errorf("strategy %v, security %+v", d.Spec.Strategy, spec.SecurityContext)
			}
		})
	}
	r := renderBackup(t, inSystem, `
controller: {env: [{name: AWS_REGION, value: eu-west-1}], envFrom: [{secretRef: {name: keys}}], catalog: {url: "s3://b", recipients: [age1x, age1y], syncInterval: 0}}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/r"}}`)
	c := as[appsv1.Deployment](t, r, "Deployment", "cht-backup").Spec.Template.Spec.Containers[0]
	if e := c.Env[len(c.Env)-1]; e.Name != "AWS_REGION" || len(c.EnvFrom) != 1 || c.EnvFrom[0].SecretRef.Name != "keys" {
		t.Errorf("env %v, from %v", c.Env, c.EnvFrom)
	}
	if a := as[corev1.ServiceAccount](t, r, "ServiceAccount", "cht-backup"); !strings.Contains(a.Annotations["eks.amazonaws.com/role-arn"], "role/r") {
		t.Errorf("account %v", a)
	}
	s := settings(t, r, "cht-backup")
	if got, ok := s["catalog-recipients"].([]any); !ok || len(got) != 2 || s["catalog-sync-interval"] != "0" {
		t.Errorf("settings %v", s)
	}
}
