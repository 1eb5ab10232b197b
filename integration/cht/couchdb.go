package cht

import (
	"fmt"
	"net/url"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names that the charts fix.
const (
	Label             = "cht.service"
	CredentialsSecret = "cht-couchdb-credentials"
	ServersConfigMap  = "couchdb-servers-configmap"
)

// Objects are everything of the deployment, in an order in which it can be made.
func Objects(o Options) ([]client.Object, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	objects := []client.Object{credentials(o), servers(o)}
	for i := range o.StaticVolumes {
		objects = append(objects, volume(o, i))
	}
	for i := range o.Nodes {
		objects = append(objects, claim(o, i), couchService(o, i))
		if o.Nouveau {
			objects = append(objects, nouveauService(o, i))
		}
		objects = append(objects, couchDeployment(o, i))
	}
	return append(objects, components(o)...), nil
}

func credentials(o Options) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: meta(o, CredentialsSecret, ""), Type: corev1.SecretTypeOpaque,
		StringData: map[string]string{
			"COUCHDB_USER": o.User, "COUCHDB_PASSWORD": o.Password, "COUCHDB_SECRET": o.Secret, "COUCHDB_UUID": o.UUID,
			"COUCH_URL": fmt.Sprintf("http://%s:%s@%s:5984/medic", o.User, url.QueryEscape(o.Password), o.host("haproxy")),
		},
	}
}

func servers(o Options) *corev1.ConfigMap {
	all := o.Servers()
	data := map[string]string{"COUCHDB_SERVERS": strings.Join(all, ",")}
	if o.Nodes > 1 {
		data["COUCHDB_SYNC_ADMINS_NODE"] = all[0]
		data["CLUSTER_PEER_IPS"] = strings.Join(all[1:], ",")
	}
	return &corev1.ConfigMap{ObjectMeta: meta(o, ServersConfigMap, ""), Data: data}
}

func volume(o Options, i int) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.Volume(i)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.Size},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        o.StaticVolumes[i].Source,
		},
	}
	if node := o.StaticVolumes[i].NodeName; node != "" {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	}
	return v
}

func claim(o Options, i int) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: meta(o, o.Claim(i), o.Claim(i)),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Size}},
		},
	}
	switch none := ""; {
	case len(o.StaticVolumes) > 0:
		c.Spec.VolumeName, c.Spec.StorageClassName = o.Volume(i), &none
	case o.StorageClass != "":
		c.Spec.StorageClassName = &o.StorageClass
	}
	return c
}

func couchService(o Options, i int) *corev1.Service {
	name, first := o.Services()[i], "couchdb-service"
	if o.Nodes > 1 {
		first = fmt.Sprintf("couchdb%d-service", i+1)
	}
	return service(o, name, name, name, port(first, 5984), port("epmd", 4369), port("erlang", 9100))
}

func nouveauService(o Options, i int) *corev1.Service {
	couch := o.Services()[i]
	name := strings.Replace(couch, "couchdb", "nouveau", 1)
	return service(o, name, name, couch, port("nouveau-service", 5987))
}

func couchDeployment(o Options, i int) *appsv1.Deployment {
	name, volume, root := o.Services()[i], o.Claim(i), int64(0)
	couch := corev1.Container{
		Name: "cht-" + name, Image: o.Images.CouchDB, ImagePullPolicy: corev1.PullIfNotPresent,
		Ports: []corev1.ContainerPort{{ContainerPort: 5984}},
		Env:   couchEnvironment(o, i),
		VolumeMounts: []corev1.VolumeMount{
			{Name: volume, MountPath: "/opt/couchdb/data", SubPath: o.dataSubPath(i)},
		},
		// The charts have no probe. This one needs no password (/_up answers 401
		// without), and goes on while CouchDB is stopped: the kernel accepts.
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(5984)}},
			PeriodSeconds: 1, FailureThreshold: 5,
		},
	}
	if !o.ConfigInImage {
		couch.VolumeMounts = append(couch.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/opt/couchdb/etc/local.d", SubPath: "local.d"})
	}
	spec := podSpec(couch)
	spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &root, FSGroup: &root}
	spec.TerminationGracePeriodSeconds = &root
	spec.Volumes = []corev1.Volume{{Name: volume, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: volume}}}}
	if o.Toleration != nil {
		spec.Tolerations = []corev1.Toleration{*o.Toleration}
	}
	if o.Hostname != "" {
		spec.NodeSelector = map[string]string{corev1.LabelHostname: o.Hostname}
	}
	if o.Nouveau {
		spec.Containers = append(spec.Containers, standIn(o, o.Images.Nouveau, "nouveau", corev1.Container{
			Name: "cht-couchdb-nouveau", Ports: []corev1.ContainerPort{{ContainerPort: 5987}},
			VolumeMounts: []corev1.VolumeMount{{Name: volume, MountPath: "/data/nouveau", SubPath: "data"}},
		}))
	}
	return deployment(o, "cht-"+name, name, spec)
}

func couchEnvironment(o Options, i int) []corev1.EnvVar {
	var env []corev1.EnvVar
	if i > 0 {
		env = append(env, fromServers("COUCHDB_SYNC_ADMINS_NODE"))
	}
	env = append(env, corev1.EnvVar{Name: "COUCHDB_LOG_LEVEL", Value: "info"},
		fromCredentials("COUCHDB_PASSWORD"), fromCredentials("COUCHDB_SECRET"), fromCredentials("COUCHDB_USER"), fromCredentials("COUCHDB_UUID"),
		corev1.EnvVar{Name: "SVC_NAME", Value: o.Servers()[i]})
	if o.Nodes == 1 {
		return env
	}
	env = append(env, corev1.EnvVar{Name: "NODE_COUNT", Value: fmt.Sprint(o.Nodes)})
	if o.Nouveau {
		env = append(env, corev1.EnvVar{Name: "NOUVEAU_URL", Value: fmt.Sprintf("http://nouveau-%d:5987", i+1)})
	}
	if i == 0 {
		env = append(env, fromServers("CLUSTER_PEER_IPS"))
	}
	return env
}
