package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Remap changes what does not fit the place that is restored to. What is not
// named stays as it was in the backup.
type Remap struct {
	// StorageClassName of every claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StorageClassName string `json:"storageClassName,omitempty"`
	// ClaimSize of every claim; at least what the snapshot needs.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="claimSize must be more than 0"
	ClaimSize *resource.Quantity `json:"claimSize,omitempty"`
	// Zone that CouchDB and its volumes are put in (topology.kubernetes.io/zone).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Zone string `json:"zone,omitempty"`
	// NodeSelector of every workload, in the place of the backup's. An empty map
	// removes it.
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector *map[string]LabelValue `json:"nodeSelector,omitempty"`
	// Tolerations of every workload, in the place of the backup's. An empty list
	// removes them.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Tolerations *[]corev1.Toleration `json:"tolerations,omitempty"`
	// Ingress changes the CHT's ingress. With a host of its own a clone gets one.
	Ingress *IngressRemap `json:"ingress,omitempty"`
	// Replicas by component (the value of cht.service), for example api: 2. A
	// CouchDB node has one.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(c, !c.matches('^couchdb(-[0-9]+)?$'))",message="a CouchDB node has one replica: its data is on one volume"
	Replicas map[string]Replicas `json:"replicas,omitempty"`
	// Images change the registry or path that images come from.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Images []ImageRemap `json:"images,omitempty"`
	// Labels are added to every object that the restore makes; not to pods, whose
	// labels workloads select by.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k != 'cht.service' && !k.startsWith('backup.communityhealthtoolkit.org/'))",message="cht.service and backup.communityhealthtoolkit.org/… have meanings; choose other labels"
	Labels map[string]LabelValue `json:"labels,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// Replicas of a workload.
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=100
type Replicas int32

// IngressRemap changes the CHT's ingress.
// +kubebuilder:validation:XValidation:rule="has(self.host) || has(self.className)",message="an ingress remap names a host, a className, or both"
type IngressRemap struct {
	// Host in the place of the backup's, in rules and TLS.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
	// ClassName in the place of the backup's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className,omitempty"`
}

// ImageRemap puts one prefix of image names in the place of another.
type ImageRemap struct {
	// From is a registry or a path below it, for example public.ecr.aws/medic. It
	// matches whole path elements.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	From string `json:"from"`
	// To stands in its place.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	To string `json:"to"`
}
