package chart_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func TestBackupPod(t *testing.T) {
	d := as[appsv1.Deployment](t, renderBackup(t, inSystem, ""), "Deployment", "cht-backup")
	spec := d.Spec.Template.Spec
	restricted(t, "the controller", spec)
	if a := spec.Affinity; a == nil || a.PodAntiAffinity == nil || len(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution) != 1 {
		t.Errorf("affinity %+v", a)
	}
	c := spec.Containers[0]
	if c.Image != "cht-backup:0.1.0" || c.LivenessProbe.HTTPGet.Port.StrVal != "health" || len(c.Ports) != 2 || c.Ports[0].ContainerPort != 8080 || c.Ports[1].ContainerPort != 8081 {
		t.Errorf("container %+v", c)
	}
	env := map[string]corev1.EnvVar{}
	for _, e := range c.Env {
		env[e.Name] = e
	}
	if memory := env["CONTAINER_MEMORY"].ValueFrom; memory == nil || memory.ResourceFieldRef == nil || memory.ResourceFieldRef.Resource != "limits.memory" {
		t.Errorf("the controller is not told its memory limit: %+v", memory)
	}
	if env["CHT_BACKUP_IMAGE"].Value != "cht-backup:0.1.0" || env["CHT_BACKUP_NAME"].Value != "cht-backup" || env["CHT_BACKUP_NAMESPACE"].ValueFrom.FieldRef.FieldPath != "metadata.namespace" {
		t.Errorf("environment %v", c.Env)
	}

	d = as[appsv1.Deployment](t, renderBackup(t, inSystem, `
image: {repository: r.example/x/cht-backup, tag: "1.2", pullPolicy: Always}
imagePullSecrets: [{name: pull}]
podAnnotations: {a: "1"}
podLabels: {b: "2", app.kubernetes.io/name: mine}
nodeSelector: {c: "3"}
tolerations: [{key: k, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: z, operator: Exists}]}]}}}
priorityClassName: system-cluster-critical
resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}
config: {metrics-address: "127.0.0.1:9090", health-address: "0"}
`), "Deployment", "cht-backup")
	spec, c = d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	if c.Image != "r.example/x/cht-backup:1.2" || c.ImagePullPolicy != corev1.PullAlways || spec.ImagePullSecrets[0].Name != "pull" || spec.NodeSelector["c"] != "3" || len(spec.Tolerations) != 1 ||
		spec.Affinity.PodAntiAffinity != nil || spec.Affinity.NodeAffinity == nil || spec.PriorityClassName != "system-cluster-critical" || c.Resources.Requests.Memory().String() != "1Gi" {
		t.Errorf("pod %+v", spec)
	}
	// A label of theirs cannot take its pods away from the Deployment.
	if l := d.Spec.Template.Labels; l["b"] != "2" || d.Spec.Template.Annotations["a"] != "1" || l["app.kubernetes.io/name"] != "cht-backup" {
		t.Errorf("metadata %+v", d.Spec.Template.ObjectMeta)
	}
	if len(c.Ports) != 1 || c.Ports[0].ContainerPort != 9090 || c.LivenessProbe != nil || c.ReadinessProbe != nil {
		t.Errorf("ports %v, probe %v", c.Ports, c.LivenessProbe)
	}
}

// A setting that changes rolls the controller out.
func TestBackupRollsOut(t *testing.T) {
	sum := func(values string) string {
		return as[appsv1.Deployment](t, renderBackup(t, inSystem, values), "Deployment", "cht-backup").Spec.Template.Annotations["checksum/config"]
	}
	if was := sum(""); was == "" || was == sum("{config: {parallel-backups: 3}}") || was == sum("{namespaces: [a]}") || was != sum("{rbac: {tenants: false}}") {
		t.Errorf("checksum %q", was)
	}
}

func TestBackupNetworkPolicy(t *testing.T) {
	if r := renderBackup(t, inSystem, ""); r.Find("NetworkPolicy", "cht-backup") != nil {
		t.Error("a policy is there by default")
	}
	p := as[networkingv1.NetworkPolicy](t, renderBackup(t, inSystem, "{networkPolicy: {enabled: true}}"), "NetworkPolicy", "cht-backup").Spec
	if len(p.PolicyTypes) != 1 || p.PolicyTypes[0] != networkingv1.PolicyTypeIngress || len(p.Ingress) != 2 || len(p.Ingress[0].From) > 0 || len(p.Ingress[1].From) > 0 ||
		p.Ingress[0].Ports[0].Port.IntValue() != 8080 || p.Ingress[1].Ports[0].Port.IntValue() != 8081 || p.PodSelector.MatchLabels["app.kubernetes.io/instance"] != "cht-backup" {
		t.Errorf("%+v", p)
	}
	p = as[networkingv1.NetworkPolicy](t, renderBackup(t, inSystem, `
networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {}}], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}
config: {metrics-address: "0"}`), "NetworkPolicy", "cht-backup").Spec
	if len(p.PolicyTypes) != 2 || len(p.Egress) != 1 || len(p.Ingress) != 1 || p.Ingress[0].Ports[0].Port.IntValue() != 8081 {
		t.Errorf("%+v", p)
	}
	p = as[networkingv1.NetworkPolicy](t, renderBackup(t, inSystem, "{networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {}}]}}"), "NetworkPolicy", "cht-backup").Spec
	if len(p.Ingress[0].From) != 1 || len(p.Ingress[1].From) != 0 {
		t.Errorf("the kubelet cannot ask: %+v", p)
	}
}

func TestBackupNotes(t *testing.T) {
	notes := renderBackup(t, inSystem, "").Notes
	for _, want := range []string{"kubectl cht backup -n YOUR-CHT-NAMESPACE", "kubectl cht list -A", "kubectl cht restore --from", "every namespace that no other controller does"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "\n\n\n") || strings.Contains(notes, "--system-namespace") {
		t.Error(notes)
	}
}
