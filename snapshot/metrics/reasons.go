package metrics

import api "github.com/medic/cht-backup/api/v1alpha1"

// otherReason stands for each word that is no constant of the API: a label must not
// have as many values as there are error messages.
const otherReason = "Other"

// reasons are the words that may stand in the label reason. A test compares them with
// the constants of the API.
var reasons = map[string]bool{}

func init() {
	for _, r := range []string{
		api.ReasonCompleted, api.ReasonProgressing,
		api.ReasonNoInstance, api.ReasonInstanceIncomplete, api.ReasonPodNotReady, api.ReasonClaimNotBound, api.ReasonNoSnapshotClass,
		api.ReasonConcurrentOperation, api.ReasonCredentials, api.ReasonSharedFileSystem, api.ReasonCouchDBUnavailable,
		api.ReasonQuiesceUnavailable, api.ReasonQuiesceLost, api.ReasonStallExceeded, api.ReasonSnapshotFailed, api.ReasonReadyTimeout,
		api.ReasonInterrupted, api.ReasonRecordFailed, api.ReasonThrottled, api.ReasonRetained,
		api.ReasonNoCatalog, api.ReasonCopierUnavailable, api.ReasonCopierLost, api.ReasonRepositoryFailed, api.ReasonRepositoryKey, api.ReasonRepositoryDamaged, api.ReasonFillFailed,
		api.ReasonBackupNotFound, api.ReasonBackupNotReady, api.ReasonRecordInvalid, api.ReasonNotAllowed, api.ReasonTargetNotEmpty,
		api.ReasonStorageClassMissing, api.ReasonPrepareFailed, api.ReasonObjectsFailed, api.ReasonForeignMember, api.ReasonShardsMissing,
		api.ReasonVerificationFailed, api.ReasonStartTimeout, api.ReasonIngressConflict, api.ReasonAborted, api.ReasonPlanned, api.ReasonExpired,
		api.ReasonSafetyBackupFailed, api.ReasonTopologyMismatch, api.ReasonNodeUnavailable, api.ReasonIngressClassMissing, api.ReasonClaimTooSmall,
		api.ReasonRemapInvalid, api.ReasonDatabaseExists, api.ReasonDatabaseMissing, api.ReasonReplicationFailed, api.ReasonDrillFailed,
		api.ReasonDriverMissing, api.ReasonSnapshotMissing, api.ReasonSnapshotArchived, api.ReasonAccessDenied, api.ReasonVolumeFailed,
		api.ReasonDone, api.ReasonImported, api.ReasonCatalogFailed, api.ReasonCopyFailed, api.ReasonShareFailed, api.ReasonLockFailed,
		api.ReasonFastRestoreOff, api.ReasonFastRestoreFail, api.ReasonArchiveFailed, api.ReasonNotEBS, api.ReasonLocked,
		api.ReasonScheduled, api.ReasonSuspended, api.ReasonInvalidSchedule, api.ReasonWaiting, api.ReasonRunsMissed, api.ReasonNameTaken, api.ReasonStarted, api.ReasonRemoved,
	} {
		reasons[r] = true
	}
}

func bounded(reason string) string {
	if reasons[reason] {
		return reason
	}
	return otherReason
}
