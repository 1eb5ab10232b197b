package offsite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Fits tells whether objects that came from elsewhere are those of the instance that
// the snapshots are of: for every node a workload that mounts its claim, with the data
// where it lies, and no other CouchDB beside them.
func Fits(r catalog.Record) error {
	found := map[string]*corev1.PodSpec{}
	for i, raw := range r.Objects {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		if o.GetKind() != "Deployment" && o.GetKind() != "StatefulSet" {
			continue
		}
		service, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", cht.ServiceLabel)
		if !cht.IsCouchDB(service) {
			continue
		}
		spec := &corev1.PodSpec{}
		plain, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(plain, spec); err != nil {
			return fmt.Errorf("the pod template of %s %s cannot be read", o.GetKind(), o.GetName())
		}
		if found[service] != nil {
			return fmt.Errorf("two workloads have the label %s=%s", cht.ServiceLabel, service)
		}
		found[service] = spec
	}
	if len(found) == 0 {
		return errors.New("there is no workload of CouchDB (a Deployment with the label " + cht.ServiceLabel + "=couchdb… on its pods) among the objects")
	}
	for _, n := range r.Nodes {
		spec := found[n.Service]
		if spec == nil {
			return fmt.Errorf("no workload has the label %s=%s, of which there is a snapshot; set the number of CouchDB nodes to %d in the chart's values", cht.ServiceLabel, n.Service, len(r.Nodes))
		}
		delete(found, n.Service)
		if err := mounts(spec, n); err != nil {
			return fmt.Errorf("the workload of %s: %w", n.Service, err)
		}
	}
	for service := range found {
		return fmt.Errorf("the workload of %s has no snapshot: the backup is of %d nodes", service, len(r.Nodes))
	}
	return nil
}

func mounts(spec *corev1.PodSpec, n catalog.Node) error {
	at := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == n.Claim
	})
	if at < 0 {
		return fmt.Errorf("it mounts no claim %s, which the volume is restored as", n.Claim)
	}
	var paths []string
	for _, c := range spec.Containers {
		for _, m := range c.VolumeMounts {
			if m.Name != spec.Volumes[at].Name {
				continue
			}
			if strings.Trim(m.SubPath, "/") == strings.Trim(n.DataSubPath, "/") {
				return nil
			}
			paths = append(paths, fmt.Sprintf("%q", m.SubPath))
		}
	}
	return fmt.Errorf("it mounts %s of claim %s, and CouchDB's data lies in %q; set the subPath in the chart's values", strings.Join(paths, ", "), n.Claim, n.DataSubPath)
}
