package cht

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// meta names an object; label "" leaves cht.service out.
func meta(o Options, name, label string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: o.Namespace, Name: name}
	if label != "" {
		m.Labels = map[string]string{Label: label}
	}
	return m
}

func service(o Options, name, label, selects string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(o, name, label),
		Spec: corev1.ServiceSpec{Selector: map[string]string{Label: selects}, Ports: ports}}
}

func port(name string, number int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: corev1.ProtocolTCP, Port: number, TargetPort: intstr.FromInt32(number)}
}

func deployment(o Options, name, label string, spec corev1.PodSpec) *appsv1.Deployment {
	one, labels := int32(1), map[string]string{Label: label}
	if spec.TerminationGracePeriodSeconds == nil && spec.Containers[0].Image == o.Images.Tools {
		// A stand-in ends at once. With the default of 30 s a namespace's end takes
		// 16 s more: its controller looks again only after half the longest grace.
		spec.TerminationGracePeriodSeconds = &shortGrace
	}
	return &appsv1.Deployment{ObjectMeta: meta(o, name, label), Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}, Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
	}}
}

var shortGrace = int64(1)

func podSpec(c corev1.Container) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{c}, RestartPolicy: corev1.RestartPolicyAlways}
}

// standIn fills in the image: the part's own where there is one, else the tools
// with the part's name as subcommand.
func standIn(o Options, own, subcommand string, c corev1.Container) corev1.Container {
	c.Image, c.ImagePullPolicy = own, corev1.PullIfNotPresent
	if own == "" {
		c.Image, c.Args = o.Images.Tools, []string{subcommand}
	}
	return c
}

func fromCredentials(key string) corev1.EnvVar {
	return corev1.EnvVar{Name: key, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: CredentialsSecret}, Key: key}}}
}

func fromServers(key string) corev1.EnvVar {
	return corev1.EnvVar{Name: key, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: ServersConfigMap}, Key: key}}}
}

// ToolPod runs the tools once with the deployment's credentials and servers in
// its environment. It carries no cht.service label: it is none of the CHT's parts.
func ToolPod(namespace, name, image string, args ...string) *corev1.Pod {
	yes := true
	optional := func(v corev1.EnvVar) corev1.EnvVar {
		if v.ValueFrom.SecretKeyRef != nil {
			v.ValueFrom.SecretKeyRef.Optional = &yes
		} else {
			v.ValueFrom.ConfigMapKeyRef.Optional = &yes
		}
		return v
	}
	spec := podSpec(corev1.Container{Name: "cht-tools", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
		Env: []corev1.EnvVar{optional(fromCredentials("COUCHDB_USER")), optional(fromCredentials("COUCHDB_PASSWORD")), optional(fromCredentials("COUCH_URL")),
			optional(fromServers("COUCHDB_SERVERS"))}})
	spec.RestartPolicy, spec.TerminationGracePeriodSeconds = corev1.RestartPolicyNever, &shortGrace
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
}
