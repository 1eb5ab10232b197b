package cht

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// components are the parts beside CouchDB that are wanted.
func components(o Options) []client.Object {
	var objects []client.Object
	if o.Components.Healthcheck {
		// The chart's Service has no label; its pods have.
		objects = append(objects, service(o, "healthcheck", "", "healthcheck", port("", 5555)), healthcheck(o))
	}
	if o.Components.HAProxy {
		objects = append(objects, service(o, "haproxy", "haproxy", "haproxy", port("5984", 5984)), haproxy(o))
	}
	if o.Components.UpgradeService {
		objects = append(objects, upgradeService(o)...)
	}
	if o.Components.API {
		objects = append(objects, service(o, "api", "api", "api", port("", 5988)), apiDeployment(o))
	}
	if o.Components.Sentinel {
		objects = append(objects, sentinel(o))
	}
	if o.Components.Ingress {
		objects = append(objects, ingress(o))
	}
	return objects
}

func healthcheck(o Options) *appsv1.Deployment {
	return deployment(o, "cht-haproxy-healthcheck", "healthcheck", podSpec(standIn(o, o.Images.Healthcheck, "healthcheck", corev1.Container{
		Name: "cht-haproxy-healthcheck", Ports: []corev1.ContainerPort{{ContainerPort: 5555}},
		Env: []corev1.EnvVar{fromCredentials("COUCHDB_PASSWORD"), fromServers("COUCHDB_SERVERS"), fromCredentials("COUCHDB_USER")},
	})))
}

func haproxy(o Options) *appsv1.Deployment {
	spec := podSpec(corev1.Container{
		Name: "cht-haproxy", Image: o.Images.HAProxy, ImagePullPolicy: corev1.PullIfNotPresent, Ports: []corev1.ContainerPort{{ContainerPort: 5984}},
		Env: []corev1.EnvVar{fromCredentials("COUCHDB_PASSWORD"), fromServers("COUCHDB_SERVERS"), fromCredentials("COUCHDB_USER"),
			{Name: "HAPROXY_IP", Value: "0.0.0.0"}, {Name: "HAPROXY_PORT", Value: "5984"},
			{Name: "HEALTHCHECK_ADDR", Value: o.host("healthcheck")}},
	})
	none := int64(0)
	spec.TerminationGracePeriodSeconds, spec.Hostname = &none, "haproxy"
	return deployment(o, "cht-haproxy", "haproxy", spec)
}

func apiDeployment(o Options) *appsv1.Deployment {
	spec := podSpec(standIn(o, o.Images.API, "api", corev1.Container{
		Name: "cht-api", Ports: []corev1.ContainerPort{{ContainerPort: 5988}},
		Env: []corev1.EnvVar{{Name: "NODE_ENV", Value: "production"}, {Name: "LOG_LEVEL", Value: "info"}, fromCredentials("COUCH_URL"),
			{Name: "API_PORT", Value: "5988"}},
	}))
	if o.Components.UpgradeService {
		spec.Containers[0].Env = append(spec.Containers[0].Env, corev1.EnvVar{Name: "UPGRADE_SERVICE_URL", Value: "http://" + o.host("upgrade-service") + ":5008"})
	}
	none := int64(0)
	spec.TerminationGracePeriodSeconds = &none
	return deployment(o, "cht-api", "api", spec)
}

func sentinel(o Options) *appsv1.Deployment {
	env := []corev1.EnvVar{{Name: "NODE_ENV", Value: "production"}, {Name: "LOG_LEVEL", Value: "info"},
		{Name: "API_HOST", Value: o.host("api")}, fromCredentials("COUCH_URL"), {Name: "API_PORT", Value: "5988"}}
	if o.SMSGatewayURL != "" {
		env = append(env, corev1.EnvVar{Name: "SMS_GATEWAY_URL", Value: o.SMSGatewayURL})
	}
	return deployment(o, "cht-sentinel", "sentinel", podSpec(standIn(o, o.Images.Sentinel, "sentinel", corev1.Container{Name: "cht-sentinel", Env: env})))
}

// upgradeService is what the admin's upgrade button talks to, with the rights to
// change image tags behind Helm's back.
func upgradeService(o Options) []client.Object {
	const account, role = "cht-upgrade-service-user", "deployment-manager"
	spec := podSpec(standIn(o, o.Images.UpgradeService, "upgrade-service", corev1.Container{
		Name: "upgrade-service", Ports: []corev1.ContainerPort{{ContainerPort: 5008}},
		Env: []corev1.EnvVar{{Name: "CHT_NAMESPACE", Value: o.Namespace}, {Name: "UPGRADE_SERVICE_PORT", Value: "5008"}},
	}))
	spec.ServiceAccountName = account
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta(o, account, "")},
		&rbacv1.Role{ObjectMeta: meta(o, role, ""), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "update", "watch", "patch", "list"}},
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "update", "watch", "patch", "list"}}}},
		&rbacv1.RoleBinding{ObjectMeta: meta(o, role+"-cht", ""),
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: o.Namespace}}},
		service(o, "upgrade-service", "upgrade-service", "upgrade-service", port("", 5008)),
		deployment(o, "upgrade-service", "upgrade-service", spec),
	}
}

func ingress(o Options) *networkingv1.Ingress {
	prefix := networkingv1.PathTypePrefix
	in := &networkingv1.Ingress{
		ObjectMeta: meta(o, "api-ingress", ""),
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
			Host: o.IngressHost,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: &prefix,
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "api", Port: networkingv1.ServiceBackendPort{Number: 5988}}},
			}}}},
		}}},
	}
	if o.IngressClass != "" {
		in.Spec.IngressClassName = &o.IngressClass
	}
	return in
}

// SMSGateway is the world outside: a Deployment and a Service sms-gateway on port
// 8080, to be put into another namespace than the CHT's. Its URL is GatewayURL.
func SMSGateway(namespace, toolsImage string) []client.Object {
	o := Options{Namespace: namespace, Images: Images{Tools: toolsImage}}
	return []client.Object{
		service(o, "sms-gateway", "", "sms-gateway", port("", 8080)),
		deployment(o, "sms-gateway", "sms-gateway", podSpec(standIn(o, "", "sms-gateway", corev1.Container{
			Name: "sms-gateway", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}))),
	}
}

// GatewayURL is where the SMSGateway of a namespace takes messages.
func GatewayURL(namespace string) string {
	return "http://sms-gateway." + namespace + ".svc.cluster.local:8080"
}
