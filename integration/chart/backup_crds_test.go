package chart_test

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/medic/cht-backup/integration/chart"
)

// The Job runs before everything else of an installation and of an upgrade, with rights
// over three names, which go with it.
func TestBackupCRDHook(t *testing.T) {
	release := chart.Release{Name: "medic", Namespace: "medic", Upgrade: true}
	r := renderBackup(t, release, `{namespaceOverride: elsewhere, imagePullSecrets: [{name: pull}], image: {repository: r.example/cht-backup, digest: "sha256:`+strings.Repeat("a", 64)+`"}, tolerations: [{key: k, operator: Exists}], nodeSelector: {a: b}}`)
	var kinds []string
	for _, o := range r.Hooks {
		kinds = append(kinds, o.GetKind())
		a := o.GetAnnotations()
		if a["helm.sh/hook"] != "pre-install,pre-upgrade" || a["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
			t.Errorf("%s: %v", o.GetKind(), a)
		}
	}
	if want := []string{"ServiceAccount", "ClusterRole", "ConfigMap", "ClusterRoleBinding", "Job"}; !slices.Equal(kinds, want) {
		t.Errorf("hooks are made in the order %v", kinds)
	}
	var names []string
	for _, crd := range r.CRDs {
		names = append(names, crd.GetName())
	}
	slices.Sort(names)
	role := as[rbacv1.ClusterRole](t, r, "ClusterRole", "medic-cht-backup.elsewhere-crds")
	for _, rule := range role.Rules {
		if !slices.Equal(rule.Resources, []string{"customresourcedefinitions"}) || slices.Contains(rule.Verbs, "delete") {
			t.Errorf("rule %+v", rule)
		}
		if slices.Equal(rule.Verbs, []string{"create"}) != (len(rule.ResourceNames) == 0) || len(rule.ResourceNames) > 0 && !slices.Equal(rule.ResourceNames, names) {
			t.Errorf("rule %+v, the names are %v", rule, names)
		}
	}
	if files := as[corev1.ConfigMap](t, r, "ConfigMap", "medic-cht-backup-crds").Data; len(files) != len(names) || len(names) != 3 {
		t.Errorf("%d files of %d definitions", len(files), len(names))
	}
	job := as[batchv1.Job](t, r, "Job", "medic-cht-backup-crds")
	spec := job.Spec.Template.Spec
	c := spec.Containers[0]
	if c.Image != "r.example/cht-backup@sha256:"+strings.Repeat("a", 64) || strings.Join(c.Command, " ") != "/cht-backup apply-crds --dir /crds --version 0.1.0" {
		t.Errorf("runs %s: %v", c.Image, c.Command)
	}
	if spec.ServiceAccountName != "medic-cht-backup-crds" || len(spec.ImagePullSecrets) != 1 || len(spec.Tolerations) != 1 || spec.NodeSelector["a"] != "b" || *job.Spec.ActiveDeadlineSeconds > 300 {
		t.Errorf("job %+v", job.Spec)
	}
	restricted(t, "the Job", spec)
	// Its pod is none of the controller's, which a Deployment, a NetworkPolicy and kubectl
	// cht find by their labels.
	if job.Spec.Template.Labels["app.kubernetes.io/name"] == "cht-backup" {
		t.Errorf("labels %v", job.Spec.Template.Labels)
	}
}

func TestBackupCRDHookLeftOut(t *testing.T) {
	if r := renderBackup(t, inSystem, "{crds: {upgrade: false}}"); len(r.Hooks) != 0 || len(r.CRDs) != 3 {
		t.Errorf("%d hooks, %d definitions", len(r.Hooks), len(r.CRDs))
	}
}

// restricted checks what the pod security level of that name asks for.
func restricted(t *testing.T, who string, spec corev1.PodSpec) {
	t.Helper()
	if s := spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: security of the pod %+v", who, s)
	}
	if spec.HostNetwork || spec.HostPID || spec.HostIPC {
		t.Errorf("%s is in a namespace of its node's", who)
	}
	for _, v := range spec.Volumes {
		if v.ConfigMap == nil && v.PersistentVolumeClaim == nil && v.Secret == nil && v.EmptyDir == nil && v.Projected == nil {
			t.Errorf("%s: volume %+v", who, v)
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 || s.RunAsUser == nil || *s.RunAsUser == 0 {
			t.Errorf("%s: security of container %s %+v", who, c.Name, s)
		}
		if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: resources of container %s %+v", who, c.Name, c.Resources)
		}
	}
}
