package cht

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// couchService matches the component label of CouchDB pods; the group is the
// node's number where there are several.
var couchService = regexp.MustCompile(`^couchdb(?:-([1-9][0-9]*))?$`)

// IsCouchDB tells whether a cht.service label value is that of a CouchDB node.
func IsCouchDB(service string) bool { return couchService.MatchString(service) }

// Discover finds the instance in an inventory, or refuses with the reason.
func Discover(inv Inventory) (Instance, error) {
	instance := Instance{Namespace: inv.Namespace}
	wanted, err := services(inv)
	if err != nil {
		return instance, err
	}
	if instance.User, instance.Password, err = credentials(inv); err != nil {
		return instance, err
	}
	claimed := map[string]string{}
	for _, service := range wanted {
		node, err := node(inv, service)
		if err != nil {
			return instance, err
		}
		if other, taken := claimed[node.Claim.Name]; taken {
			return instance, reason.Refuse(api.ReasonInstanceIncomplete,
				"%s and %s mount the same claim %s; give each CouchDB node a claim of its own", other, service, node.Claim.Name)
		}
		claimed[node.Claim.Name] = service
		instance.Nodes = append(instance.Nodes, node)
	}
	return instance, nil
}

// services lists the CouchDB nodes there should be: those that have a workload
// or a pod. A workload without a pod counts, or a crashed node would be missed
// and a third of the data with it.
func services(inv Inventory) ([]string, error) {
	seen := map[string]bool{}
	stopped := ""
	note := func(labels map[string]string, replicas *int32, what string) {
		service := labels[ServiceLabel]
		if !IsCouchDB(service) {
			return
		}
		seen[service] = true
		if replicas != nil && *replicas == 0 {
			stopped = what
		}
	}
	for _, d := range inv.Deployments {
		note(d.Spec.Template.Labels, d.Spec.Replicas, "deployment "+d.Name)
	}
	for _, s := range inv.StatefulSets {
		note(s.Spec.Template.Labels, s.Spec.Replicas, "statefulset "+s.Name)
	}
	for _, p := range inv.Pods {
		note(p.Labels, nil, "")
	}
	if len(seen) == 0 {
		return nil, reason.Refuse(api.ReasonNoInstance,
			"namespace %s has no CHT instance: no pod or deployment is labelled %s=couchdb or couchdb-N; check the namespace", inv.Namespace, ServiceLabel)
	}
	if stopped != "" {
		return nil, reason.Refuse(api.ReasonInstanceIncomplete, "%s in %s is scaled to 0; start it, then back up", stopped, inv.Namespace)
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	for i, name := range names {
		if want := i + 1; number(name) != want && (len(names) > 1 || number(name) > 0) {
			return nil, reason.Refuse(api.ReasonInstanceIncomplete,
				"namespace %s has CouchDB nodes %v but no couchdb-%d; a backup without it would lack its shards", inv.Namespace, names, want)
		}
	}
	return names, nil
}

func number(service string) int {
	n, _ := strconv.Atoi(couchService.FindStringSubmatch(service)[1]) // "" is node 0, alone
	return n
}

func credentials(inv Inventory) (user, password string, err error) {
	if inv.Credentials == nil {
		return "", "", reason.Refuse(api.ReasonNoInstance,
			"namespace %s has no secret %s; without CouchDB's admin credentials nothing can be recorded", inv.Namespace, CredentialsSecret)
	}
	user, password = string(inv.Credentials.Data["COUCHDB_USER"]), string(inv.Credentials.Data["COUCHDB_PASSWORD"])
	if user == "" || password == "" {
		return "", "", reason.Refuse(api.ReasonCredentials,
			"secret %s/%s lacks COUCHDB_USER or COUCHDB_PASSWORD; add it", inv.Namespace, CredentialsSecret)
	}
	return user, password, nil
}

func node(inv Inventory, service string) (Node, error) {
	pod, err := readyPod(inv, service)
	if err != nil {
		return Node{}, err
	}
	container, data := dataMount(pod)
	if container == nil {
		return Node{}, reason.Refuse(api.ReasonInstanceIncomplete,
			"pod %s/%s has no container that mounts a claim at %s", pod.Namespace, pod.Name, DataMount)
	}
	n := Node{
		Service:     service,
		Pod:         Pod{Name: pod.Name, UID: pod.UID, Container: container.Name, NodeName: pod.Spec.NodeName, IP: pod.Status.PodIP, Image: container.Image},
		DataSubPath: data.SubPath,
	}
	if data.SubPathExpr != "" {
		return Node{}, reason.Refuse(api.ReasonInstanceIncomplete,
			"pod %s/%s mounts %s by subPathExpr %q; use a plain subPath", pod.Namespace, pod.Name, DataMount, data.SubPathExpr)
	}
	for _, m := range container.VolumeMounts {
		if m.MountPath == ConfigMount && m.Name == data.Name {
			n.ConfigSubPath, n.ConfigOnVolume = m.SubPath, true
		}
	}
	n.Claim, err = claim(inv, claimOf(pod, data.Name))
	return n, err
}

// readyPod finds the one pod that serves a node. Pods on their way out or ended
// are passed over: an eviction leaves such behind.
func readyPod(inv Inventory, service string) (*corev1.Pod, error) {
	var found *corev1.Pod
	for i := range inv.Pods {
		p := &inv.Pods[i]
		if p.Labels[ServiceLabel] != service || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		if found != nil {
			return nil, reason.Refuse(api.ReasonInstanceIncomplete, "pods %s and %s in %s both serve %s; wait until one is gone", found.Name, p.Name, inv.Namespace, service)
		}
		found = p
	}
	if found == nil {
		return nil, reason.Refuse(api.ReasonPodNotReady, "no pod serves %s in %s; see `kubectl describe deployment -n %s`", service, inv.Namespace, inv.Namespace)
	}
	if Ready(found) {
		return found, nil
	}
	return nil, reason.Refuse(api.ReasonPodNotReady, "pod %s/%s (%s) is not ready; see `kubectl describe pod -n %s %s`, then back up again",
		found.Namespace, found.Name, service, found.Namespace, found.Name)
}

// Ready tells whether a pod serves: only then do Services and DNS name it.
func Ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// dataMount finds the container with CouchDB's data and that mount. Nouveau is
// in the same pod on the same claim, but mounts it elsewhere.
func dataMount(pod *corev1.Pod) (*corev1.Container, *corev1.VolumeMount) {
	for i := range pod.Spec.Containers {
		for j, m := range pod.Spec.Containers[i].VolumeMounts {
			if m.MountPath == DataMount && claimOf(pod, m.Name) != "" {
				return &pod.Spec.Containers[i], &pod.Spec.Containers[i].VolumeMounts[j]
			}
		}
	}
	return nil, nil
}

func claimOf(pod *corev1.Pod, volume string) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == volume && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

func claim(inv Inventory, name string) (Claim, error) {
	pv, err := inv.VolumeOf(name)
	if err != nil {
		return Claim{}, err
	}
	pvc := inv.Claims[name]
	c := Claim{Name: name, UID: pvc.UID, Volume: pv.Name, Capacity: pv.Spec.Capacity.Storage().Value(), Source: Source(pv)}
	if pvc.Spec.StorageClassName != nil {
		c.StorageClass = *pvc.Spec.StorageClassName
	}
	if pv.Spec.CSI != nil {
		c.Driver, c.FSType, c.Partition = pv.Spec.CSI.Driver, pv.Spec.CSI.FSType, pv.Spec.CSI.VolumeAttributes["partition"]
	}
	if in := pv.Spec.AWSElasticBlockStore; in != nil {
		c.FSType = in.FSType
		if in.Partition != 0 {
			c.Partition = strconv.Itoa(int(in.Partition))
		}
	}
	c.EBS = ebsOf(pv)
	return c, nil
}

// VolumeOf gives the volume that a claim is bound to, or refuses where there is none.
func (inv Inventory) VolumeOf(claim string) (corev1.PersistentVolume, error) {
	pvc, ok := inv.Claims[claim]
	if !ok || pvc.Status.Phase != corev1.ClaimBound {
		return corev1.PersistentVolume{}, reason.Refuse(api.ReasonClaimNotBound, "claim %s/%s is not bound; see `kubectl describe pvc -n %s %s`", inv.Namespace, claim, inv.Namespace, claim)
	}
	pv, ok := inv.Volumes[pvc.Spec.VolumeName]
	if !ok {
		return pv, reason.Refuse(api.ReasonClaimNotBound, "claim %s/%s is bound to volume %s, which does not exist", inv.Namespace, claim, pvc.Spec.VolumeName)
	}
	// A claim says which volume it wants; whose it is, the volume says: it may be another
	// tenant's.
	if ref := pv.Spec.ClaimRef; ref == nil || ref.Namespace != inv.Namespace || ref.Name != claim || ref.UID != pvc.UID {
		return corev1.PersistentVolume{}, reason.Refuse(api.ReasonClaimNotBound, "claim %s/%s names volume %s, which is bound to another claim; see `kubectl describe pvc -n %s %s`", inv.Namespace, claim, pv.Name, inv.Namespace, claim)
	}
	return pv, nil
}

// Source says in words what a volume is.
func Source(pv corev1.PersistentVolume) string {
	switch s := pv.Spec; {
	case s.CSI != nil:
		return "a volume of CSI driver " + s.CSI.Driver
	case s.AWSElasticBlockStore != nil:
		return fmt.Sprintf("an in-tree EBS volume (%s)", s.AWSElasticBlockStore.VolumeID)
	case s.HostPath != nil:
		return fmt.Sprintf("a hostPath volume (%s)", s.HostPath.Path)
	case s.Local != nil:
		return fmt.Sprintf("a local volume (%s)", s.Local.Path)
	default:
		return "not a CSI volume"
	}
}
