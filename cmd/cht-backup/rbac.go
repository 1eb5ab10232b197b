package main

// What the controller may do. controller-gen writes these into
// charts/cht-backup/files/role.yaml.
//
// It holds what the CHT's own Role deployment-manager grants (Deployments and
// Pods), since nobody may create a Role that grants more than he has.
//
// +kubebuilder:rbac:groups=backup.communityhealthtoolkit.org,resources=backups;restores,verbs=get;list;watch;create;patch;update
// +kubebuilder:rbac:groups=backup.communityhealthtoolkit.org,resources=backups;restores,verbs=delete
// +kubebuilder:rbac:groups=backup.communityhealthtoolkit.org,resources=backupschedules,verbs=get;list;watch
// +kubebuilder:rbac:groups=backup.communityhealthtoolkit.org,resources=backups/status;backupschedules/status;restores/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=backup.communityhealthtoolkit.org,resources=backups/finalizers;restores/finalizers,verbs=update
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots;volumesnapshotcontents,verbs=get;list;watch;create;patch;delete;deletecollection
// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;update;patch;delete;deletecollection
// +kubebuilder:rbac:groups="",resources=pods/exec,verbs=get;create
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;delete;deletecollection
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;create;delete
// +kubebuilder:rbac:groups="",resources=nodes,verbs=list
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get;list
// +kubebuilder:rbac:groups=storage.k8s.io,resources=csidrivers,verbs=get
// +kubebuilder:rbac:groups=storage.k8s.io,resources=csinodes,verbs=list
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps;services;serviceaccounts,verbs=get;list;create;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=update
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;create;delete
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=apps,resources=daemonsets;replicasets,verbs=list
// +kubebuilder:rbac:groups=batch,resources=jobs;cronjobs,verbs=list
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;create;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;create;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses,verbs=list
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;create;delete;deletecollection
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
