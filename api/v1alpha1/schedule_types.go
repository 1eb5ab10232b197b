package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackupSchedule takes backups of the CHT instance in its namespace by a clock,
// removes those that are not needed any more, and proves them by drills.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=chtbs,categories=cht
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.spec.timeZone`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Recovery point",type=date,JSONPath=`.status.recoveryPointTime`
// +kubebuilder:printcolumn:name="Next",type=string,JSONPath=`.status.nextRun`
// +kubebuilder:printcolumn:name="Missed",type=integer,JSONPath=`.status.missedRuns`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name is longer than 63 characters; it becomes a label of every backup, choose a shorter one"
type BackupSchedule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says when backups are taken, which are kept, and when they are proven.
	Spec BackupScheduleSpec `json:"spec"`
	// Status is how far it is; written by the controller alone.
	Status BackupScheduleStatus `json:"status,omitempty"`
}

// BackupScheduleList is a list of BackupSchedules.
// +kubebuilder:object:root=true
type BackupScheduleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BackupSchedule `json:"items"`
}

// CronExpression is a cron expression of five fields (minute, hour, day of the
// month, month, day of the week), one of @hourly, @daily, @midnight, @weekly,
// @monthly, @yearly, @annually, or "@every DURATION", which is counted from the
// schedule's creation. Source: github.com/robfig/cron/v3, ParseStandard.
// +kubebuilder:validation:MinLength=6
// +kubebuilder:validation:MaxLength=200
// +kubebuilder:validation:XValidation:rule="!self.contains('TZ=')",message="the time zone stands in timeZone, not in the expression"
// +kubebuilder:validation:XValidation:rule="!self.matches('^\\\\S+(\\\\s+\\\\S+){5,}$') || self.startsWith('@')",message="more than five fields: there is no seconds field; use minute, hour, day of the month, month, day of the week"
// +kubebuilder:validation:XValidation:rule="self.matches('^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every ([0-9.]+(h|m|s|ms))+|[0-9A-Za-z*?,/-]+(\\\\s+[0-9A-Za-z*?,/-]+){4,})$')",message="not a cron expression: five fields such as '30 2 * * *', or a descriptor such as @daily or '@every 6h'"
type CronExpression string

// BackupScheduleSpec says when backups are taken, how, which are kept, and how
// they are proven.
type BackupScheduleSpec struct {
	// Schedule is when backups are due, in timeZone. A time of day that the clock
	// jumps over in spring runs at the next valid instant, one that occurs twice in
	// autumn runs once, the first time. A schedule of every hour runs each hour
	// that passes.
	Schedule CronExpression `json:"schedule"`
	// TimeZone is a name of the IANA time zone database, for example Africa/Nairobi.
	// +kubebuilder:default="Etc/UTC"
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+/-]*$') && self != 'Local'",message="not the name of a time zone; use one of the IANA database, such as Africa/Nairobi or Etc/UTC"
	TimeZone string `json:"timeZone,omitempty"`
	// Jitter delays every run by a share of it that is fixed by the schedule's
	// namespace and name, so that many instances do not begin at one minute. At most
	// 12h.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('12h')",message="jitter must lie between 0s and 12h"
	Jitter *metav1.Duration `json:"jitter,omitempty"`
	// StartingDeadlineSeconds is how late a run may begin that could not begin in
	// time, because the controller was down or the instance was busy. Only the
	// latest such run is made up for. Default: however late.
	// +kubebuilder:validation:Minimum=1
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
	// ConcurrencyPolicy: Forbid, two backups of one instance never run at once.
	// +kubebuilder:validation:Enum=Forbid
	// +kubebuilder:default=Forbid
	ConcurrencyPolicy string `json:"concurrencyPolicy,omitempty"`
	// Suspend stops runs and drills, not retention. What was due meanwhile is not
	// made up for.
	// +kubebuilder:default=false
	Suspend bool `json:"suspend"`
	// Template is what the backups are made from.
	Template BackupTemplate `json:"template,omitempty"`
	// FileCopySchedule is when the files are copied, too, into the catalog's repository:
	// the first backup that is due at or after each of its instants does that, as with
	// template.spec.file.copy. Without it, the template says it for all.
	FileCopySchedule *CronExpression `json:"fileCopySchedule,omitempty"`
	// Retention says which of the schedule's backups are kept. Without it all are.
	Retention *Retention `json:"retention,omitempty"`
	// Drill proves the newest good backup by restoring it.
	Drill *ScheduledDrill `json:"drill,omitempty"`
}

// BackupTemplate is what a scheduled backup is made from.
type BackupTemplate struct {
	// Labels that the backups get.
	Labels map[string]string `json:"labels,omitempty"`
	// Spec of the backups.
	// +kubebuilder:default={}
	Spec BackupSpec `json:"spec,omitempty"`
}

// BackupScheduleStatus is what is known of a schedule.
type BackupScheduleStatus struct {
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready. It is False where the expression or the zone is not one, or
	// where runs are missed; its message says what a run waits for.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Suspended is spec.suspend as last seen: what was due while it was true is not
	// made up for.
	Suspended bool `json:"suspended,omitempty"`
	// JitterSeconds is the delay of every run.
	JitterSeconds int64 `json:"jitterSeconds,omitempty"`
	// Backups are the runs of the schedule itself.
	Backups RunStatus `json:"backups,omitempty"`
	// Drills are those of spec.drill.
	Drills *RunStatus `json:"drills,omitempty"`
	// NextRun is Backups.NextTime in the schedule's own zone.
	NextRun string `json:"nextRun,omitempty"`
	// MissedRuns counts the runs that were due and did not begin, since the schedule
	// was created.
	MissedRuns int64 `json:"missedRuns,omitempty"`
	// LastMissed is the latest of them.
	LastMissed *metav1.Time `json:"lastMissed,omitempty"`
	// LastSuccessfulBackup is the newest good backup of the schedule.
	LastSuccessfulBackup string `json:"lastSuccessfulBackup,omitempty"`
	// LastSuccessfulTime is when it was cut.
	LastSuccessfulTime *metav1.Time `json:"lastSuccessfulTime,omitempty"`
	// RecoveryPointTime is the cut of the newest good backup of the instance, of
	// whatever schedule or none: what came after it would be lost today.
	RecoveryPointTime *metav1.Time `json:"recoveryPointTime,omitempty"`
	// LastRunNow is the value of the annotation run-now that was last obeyed.
	LastRunNow string `json:"lastRunNow,omitempty"`
	// Retained is the number of the schedule's backups that its retention keeps.
	Retained int32 `json:"retained,omitempty"`
	// Removed counts those that it has removed, since the schedule was created.
	Removed int64 `json:"removed,omitempty"`
}

// RunStatus is how far one clock of a schedule is.
type RunStatus struct {
	// Observed is the expression and the zone that HandledTime speaks of.
	Observed string `json:"observed,omitempty"`
	// HandledTime: every instant up to it was run, or counted as missed.
	HandledTime *metav1.Time `json:"handledTime,omitempty"`
	// LastTime is the instant, without the jitter, of the latest run.
	LastTime *metav1.Time `json:"lastTime,omitempty"`
	// LastName is the Backup, or the Restore of a drill, of that run.
	LastName string `json:"lastName,omitempty"`
	// NextTime is when the next run begins, with the jitter.
	NextTime *metav1.Time `json:"nextTime,omitempty"`
	// Active is the run under way.
	Active string `json:"active,omitempty"`
	// WaitingFor says why a run that is due has not begun.
	WaitingFor string `json:"waitingFor,omitempty"`
}
