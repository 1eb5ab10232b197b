// Package v1alpha1 holds the kinds Backup, BackupSchedule and Restore of the API
// group backup.communityhealthtoolkit.org: their types, the rules the API server
// enforces on them (CEL), and the condition types, reasons, labels and
// annotations that the controller, the plugin and the operator share.
// It imports no other package of this module and never talks to a cluster.
//
// +kubebuilder:object:generate=true
// +groupName=backup.communityhealthtoolkit.org
package v1alpha1
