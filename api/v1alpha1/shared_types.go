package v1alpha1

// Labels and annotations this product sets. All live under one prefix so that
// `kubectl get -l` finds whatever is ours.
const (
	prefix = "backup.communityhealthtoolkit.org/"

	// BackupUIDLabel carries the UID of the Backup that owns an object. The UID,
	// not the name: a Backup deleted and made again under one name must not
	// adopt what its predecessor left.
	BackupUIDLabel = prefix + "backup-uid"
	// RestoreUIDLabel carries the UID of the Restore that made an object.
	RestoreUIDLabel = prefix + "restore-uid"
	// AttemptLabel numbers the cut attempt a snapshot belongs to, from "1".
	AttemptLabel = prefix + "attempt"
	// NodeLabel names the CouchDB node (the value of cht.service) an object serves.
	NodeLabel = prefix + "node"
	// RoleLabel tells what a pod of ours does: "freezer", "prepare-volume"
	// or "probe-isolation".
	RoleLabel = prefix + "role"
	// ThrowAwayLabel marks the pod in which the plugin reads a database out of a
	// repository. It has no role: the CHT's policies let pods with one reach CouchDB.
	ThrowAwayLabel = prefix + "throw-away"
	// SourceNamespaceLabel names the namespace a record was taken from.
	SourceNamespaceLabel = prefix + "source-namespace"
	// SourceNameAnnotation names the Backup a record was written for; an
	// annotation because a name may be longer than a label value.
	SourceNameAnnotation = prefix + "source-name"
	// AllowedNamespacesAnnotation lists, comma separated, the namespaces a kept
	// record may be restored into once its Backup is gone.
	AllowedNamespacesAnnotation = prefix + "allowed-namespaces"
	// DeletionAskedAnnotation tells, on a VolumeSnapshotContent, when its deletion
	// was last asked for.
	DeletionAskedAnnotation = prefix + "deletion-asked"
	// SetAsideLabel marks a PersistentVolume that a restore in place took out of
	// service; its value is the UID of that Restore.
	SetAsideLabel = prefix + "set-aside-by"
	// SetAsideClaimAnnotation names the claim that volume served, as NAMESPACE/NAME.
	SetAsideClaimAnnotation = prefix + "set-aside-claim"
	// ReclaimPolicyAnnotation keeps a PersistentVolume's own reclaim policy while it
	// is Retain.
	ReclaimPolicyAnnotation = prefix + "reclaim-policy"
	// CreatedForAnnotation names, on a namespace, the Restore it was created for:
	// when a clone's time is over, such a namespace goes too.
	CreatedForAnnotation = prefix + "created-for-restore"
	// ScratchForAnnotation names, on a namespace and on the Restore in it, the Restore
	// of one database or the drill whose scratch namespace it is, as NAMESPACE/NAME.
	ScratchForAnnotation = prefix + "scratch-for-restore"
	// ScheduleLabel names, on a Backup and on the Restore of a drill, the
	// BackupSchedule of its namespace that it is of. A schedule made again under its
	// name goes on with what its predecessor left.
	ScheduleLabel = prefix + "schedule"
	// ScheduledAtAnnotation is the instant, in RFC 3339 and without the jitter, at
	// which a scheduled Backup or drill was due.
	ScheduledAtAnnotation = prefix + "scheduled-at"
	// RunNowAnnotation, set on a BackupSchedule to a value that it has not had,
	// starts a run at once.
	RunNowAnnotation = prefix + "run-now"
	// RetainedAnnotation tells, on a VolumeSnapshotContent, when its Backup was deleted
	// and left it in the storage on purpose.
	RetainedAnnotation = prefix + "retained"
	// HoldAnnotation keeps a Backup from every retention; its value says why. Deleted
	// all the same, it leaves its snapshots and its record, which is held then.
	HoldAnnotation = prefix + "hold"
	// ImportedLabel marks a Backup that only shows a record of the catalog. It is never
	// run, and its deletion touches neither snapshots nor the bucket.
	ImportedLabel = prefix + "imported"
	// ImportedFromAnnotation tells, on the head of a record, where it was read that was
	// not written by this cluster. Its snapshots are not this cluster's to delete.
	ImportedFromAnnotation = prefix + "imported-from"
	// Finalizer holds a Backup until its snapshots and its record are gone, and a
	// Restore until what it made outside its namespace is gone.
	Finalizer = prefix + "cleanup"
)

// Quiesce says how writes are held back while the volumes are cut.
// +kubebuilder:validation:Enum=Auto;Freeze;Pause;None
type Quiesce string

// The quiesce modes.
const (
	// QuiesceAuto takes Freeze where it can be had, else Pause.
	QuiesceAuto Quiesce = "Auto"
	// QuiesceFreeze holds every node's file system with FIFREEZE.
	QuiesceFreeze Quiesce = "Freeze"
	// QuiescePause stops every node's CouchDB processes with SIGSTOP.
	QuiescePause Quiesce = "Pause"
	// QuiesceNone holds nothing: each volume is crash-consistent by itself.
	QuiesceNone Quiesce = "None"
)

// Consistency says what a finished set of cuts is.
type Consistency string

// The degrees of consistency.
const (
	// Consistent: every cut lies inside one unbroken quiesce of all nodes.
	Consistent Consistency = "Consistent"
	// CrashConsistent: each volume is a point in time of its own.
	CrashConsistent Consistency = "CrashConsistent"
)

// Phase is the coarse state for people; programs read the conditions.
type Phase string

// Phases of a Backup and of a Restore. Completed and Failed are final.
const (
	// PhasePending: it waits for its turn, or is being checked.
	PhasePending Phase = "Pending"
	// PhaseCompleted: done and good. Final.
	PhaseCompleted Phase = "Completed"
	// PhaseFailed: given up; the reason is that of Ready. Final.
	PhaseFailed Phase = "Failed"

	// PhasePreparing: freezers start, shard maps and counts are read.
	PhasePreparing Phase = "Preparing"
	// PhaseCutting: the quiesce and the cuts are under way.
	PhaseCutting Phase = "Cutting"
	// PhaseFinishing: the CHT runs again, the snapshots become ready.
	PhaseFinishing Phase = "Finishing"
	// PhaseCleaningUp: the outcome is known, what is not kept is being removed.
	PhaseCleaningUp Phase = "CleaningUp"

	// PhaseVolumes: claims are made from the snapshots.
	PhaseVolumes Phase = "Volumes"
	// PhaseObjects: Secrets, Services and workloads are applied, at 0 replicas.
	PhaseObjects Phase = "Objects"
	// PhaseCouchDB: CouchDB runs alone and gets its membership and shard maps.
	PhaseCouchDB Phase = "CouchDB"
	// PhaseVerifying: the data is compared with the record.
	PhaseVerifying Phase = "Verifying"
	// PhaseStarting: the other components start.
	PhaseStarting Phase = "Starting"

	// PhasePlanned: a restore with planOnly waits for somebody to go on.
	PhasePlanned Phase = "Planned"
	// PhaseExpiring: a clone's time to live is over and it is being removed. Nothing
	// takes that back: half of it may be gone.
	PhaseExpiring Phase = "Expiring"
	// PhaseExpired: a clone's time to live is over and it was removed. Final.
	PhaseExpired Phase = "Expired"

	// PhaseSafetyBackup: the state before a restore in place is backed up.
	PhaseSafetyBackup Phase = "SafetyBackup"
	// PhaseStopping: the instance is scaled down, CouchDB last.
	PhaseStopping Phase = "Stopping"
	// PhaseSwapping: the present volumes are set aside, the restored ones take
	// their claims.
	PhaseSwapping Phase = "Swapping"
	// PhaseRollingBack: the instance returns to the volumes and replicas of before.
	PhaseRollingBack Phase = "RollingBack"

	// PhaseScratch: the backup's CouchDB is brought up beside the instance.
	PhaseScratch Phase = "Scratch"
	// PhaseReplicating: one database is replicated out of it.
	PhaseReplicating Phase = "Replicating"
	// PhaseTearingDown: a drill's scratch namespace is removed.
	PhaseTearingDown Phase = "TearingDown"
	// PhaseReplacing: the live database is kept under another name and replaced.
	PhaseReplacing Phase = "Replacing"
)

// ConditionReady is True once a Backup or Restore is complete and good, False
// with a reason once it failed, Unknown while it runs.
const ConditionReady = "Ready"

// ConditionVerified is True on a Backup once a restore proved it, False when
// the latest restore found that its data is not what was recorded.
const ConditionVerified = "Verified"

// Reasons of ConditionReady, each one that an operator can search for.
const (
	ReasonCompleted   = "Completed"
	ReasonProgressing = "Progressing"

	// Refusals before anything is touched.
	ReasonNoInstance          = "NoInstance"
	ReasonInstanceIncomplete  = "InstanceIncomplete"
	ReasonPodNotReady         = "PodNotReady"
	ReasonClaimNotBound       = "ClaimNotBound"
	ReasonNoSnapshotClass     = "NoSnapshotClass"
	ReasonConcurrentOperation = "ConcurrentOperation"
	ReasonCredentials         = "CredentialsRejected"
	ReasonSharedFileSystem    = "SharedFileSystem"
	ReasonCouchDBUnavailable  = "CouchDBUnavailable"

	// Failures of a backup.
	ReasonQuiesceUnavailable = "QuiesceUnavailable"
	ReasonQuiesceLost        = "QuiesceLost"
	ReasonStallExceeded      = "StallExceeded"
	ReasonSnapshotFailed     = "SnapshotFailed"
	ReasonReadyTimeout       = "ReadyTimeout"
	ReasonInterrupted        = "Interrupted"
	ReasonRecordFailed       = "RecordFailed"
	ReasonThrottled          = "Throttled"
	// Of method File, and of the copy beside snapshots.
	ReasonNoCatalog         = "NoCatalog"
	ReasonCopierUnavailable = "CopierUnavailable"
	ReasonCopierLost        = "CopierLost"
	ReasonRepositoryFailed  = "RepositoryFailed"
	// Of an event: the Backup is gone, its snapshots and its record are not.
	ReasonRetained = "Retained"

	// Refusals and failures of a restore.
	ReasonBackupNotFound      = "BackupNotFound"
	ReasonBackupNotReady      = "BackupNotReady"
	ReasonRecordInvalid       = "RecordInvalid"
	ReasonNotAllowed          = "NotAllowed"
	ReasonTargetNotEmpty      = "TargetNotEmpty"
	ReasonStorageClassMissing = "StorageClassMissing"
	ReasonPrepareFailed       = "PrepareVolumeFailed"
	ReasonObjectsFailed       = "ObjectsFailed"
	ReasonForeignMember       = "ForeignMember"
	ReasonShardsMissing       = "ShardsMissing"
	ReasonVerificationFailed  = "VerificationFailed"
	ReasonStartTimeout        = "StartTimeout"
	ReasonIngressConflict     = "IngressConflict"
	ReasonAborted             = "Aborted"
	ReasonPlanned             = "Planned"
	ReasonExpired             = "Expired"
	ReasonSafetyBackupFailed  = "SafetyBackupFailed"
	ReasonTopologyMismatch    = "TopologyMismatch"
	ReasonNodeUnavailable     = "NodeUnavailable"
	ReasonIngressClassMissing = "IngressClassMissing"
	ReasonClaimTooSmall       = "ClaimTooSmall"
	ReasonRemapInvalid        = "RemapInvalid"
	ReasonDatabaseExists      = "DatabaseExists"
	ReasonDatabaseMissing     = "DatabaseMissing"
	ReasonReplicationFailed   = "ReplicationFailed"
	ReasonDrillFailed         = "DrillFailed"
	ReasonDriverMissing       = "DriverMissing"
	ReasonSnapshotMissing     = "SnapshotMissing"
	ReasonSnapshotArchived    = "SnapshotArchived"
	ReasonAccessDenied        = "AccessDenied"
	ReasonVolumeFailed        = "VolumeFailed"
	ReasonRepositoryKey       = "RepositoryKeyMissing"
	ReasonRepositoryDamaged   = "RepositoryDamaged"
	ReasonFillFailed          = "FillFailed"

	// Of what is done after the cut.
	ReasonDone            = "Done"
	ReasonImported        = "Imported"
	ReasonCatalogFailed   = "CatalogFailed"
	ReasonCopyFailed      = "CopyFailed"
	ReasonShareFailed     = "ShareFailed"
	ReasonLockFailed      = "LockFailed"
	ReasonFastRestoreOff  = "FastRestoreOff"
	ReasonFastRestoreFail = "FastRestoreFailed"
	ReasonArchiveFailed   = "ArchiveFailed"
	ReasonNotEBS          = "NotEBS"
	ReasonLocked          = "Locked"

	// Of a schedule.
	ReasonScheduled       = "Scheduled"
	ReasonSuspended       = "Suspended"
	ReasonInvalidSchedule = "InvalidSchedule"
	ReasonWaiting         = "Waiting"
	ReasonRunsMissed      = "RunsMissed"
	ReasonNameTaken       = "NameTaken"
	// Of events alone: a run was made, and a backup was removed by the retention.
	ReasonStarted = "Started"
	ReasonRemoved = "RetentionRemoved"
)
