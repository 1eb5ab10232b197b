package cht

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const ns = "cht-kilifi"

// instance is a CHT deployment as the public charts make it: 0 nodes for the
// one-node chart, else that many. Tests break it with the functions below.
func instance(nodes int) Inventory {
	inv := Inventory{Namespace: ns, Claims: map[string]corev1.PersistentVolumeClaim{}, Volumes: map[string]corev1.PersistentVolume{},
		Credentials: &corev1.Secret{Data: map[string][]byte{"COUCHDB_USER": []byte("medic"), "COUCHDB_PASSWORD": []byte("password")}}}
	add := func(service, claim string) {
		class := "gp3"
		inv.Deployments = append(inv.Deployments, deployment("cht-"+service, service, 1))
		inv.Pods = append(inv.Pods, pod("cht-"+service+"-5d8f-abcde", service, claim))
		inv.Claims[claim] = corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: claim, UID: "uid-" + "claim"},
			Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + claim, StorageClassName: &class},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}}
		volume := corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim}}
		volume.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}
		volume.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: "vol-1"}
		volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: ns, Name: claim, UID: inv.Claims[claim].UID}
		inv.Volumes[volume.Name] = volume
	}
	if nodes == 0 {
		add("couchdb", "couchdb-claim0")
	}
	// Listed as a cluster lists them: by name, so 10 before 2.
	for i := nodes; i > 0; i-- {
		add(fmt.Sprintf("couchdb-%d", i), fmt.Sprintf("couchdb-%d-claim0", i))
	}
	for _, other := range []string{"api", "sentinel", "haproxy", "healthcheck", "upgrade-service"} {
		inv.Deployments = append(inv.Deployments, deployment("cht-"+other, other, 1))
		inv.Pods = append(inv.Pods, pod("cht-"+other+"-x", other, ""))
	}
	return inv
}

func deployment(name, service string, replicas int32) appsv1.Deployment {
	d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
	d.Spec.Template.Labels = map[string]string{ServiceLabel: service}
	return d
}

// pod is ready, and mounts claim twice if there is one.
func pod(name, service, claim string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, UID: "pod-uid", Labels: map[string]string{ServiceLabel: service}}}
	p.Spec.NodeName = "worker-1"
	p.Spec.Containers = []corev1.Container{{Name: "cht-couchdb", Image: "medicmobile/cht-couchdb:5.0.0"}}
	p.Status.Phase, p.Status.PodIP = corev1.PodRunning, "10.0.0.7"
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if claim != "" {
		p.Spec.Volumes = []corev1.Volume{{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: claim, MountPath: DataMount, SubPath: "data"}, {Name: claim, MountPath: ConfigMount, SubPath: "local.d"}}
	}
	return p
}

// couch gives the pod of a service to change.
func (inv Inventory) couch(service string) *corev1.Pod {
	for i := range inv.Pods {
		if inv.Pods[i].Labels[ServiceLabel] == service {
			return &inv.Pods[i]
		}
	}
	panic("no pod " + service)
}

func (inv Inventory) changeClaim(name string, change func(*corev1.PersistentVolumeClaim)) {
	c := inv.Claims[name]
	change(&c)
	inv.Claims[name] = c
}

func (inv Inventory) changeVolume(claim string, change func(*corev1.PersistentVolume)) {
	v := inv.Volumes["pv-"+claim]
	change(&v)
	inv.Volumes["pv-"+claim] = v
}
