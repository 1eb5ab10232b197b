package v1alpha1

// Retention says which backups of a schedule are kept: those that any of its rules
// keeps. Only good backups are counted and only the schedule's own are removed. The
// newest good one, the newest verified one and held ones are kept whatever stands
// here.
// +kubebuilder:validation:XValidation:rule="has(self.keepLast) || has(self.keepHourly) || has(self.keepDaily) || has(self.keepWeekly) || has(self.keepMonthly) || has(self.keepYearly) || has(self.keepWithin)",message="a retention without a keep rule would remove all but the newest backup; leave retention out to keep all, or set keepLast: 1 if that is meant"
type Retention struct {
	// KeepLast keeps the newest of all.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepLast *int32 `json:"keepLast,omitempty"`
	// KeepHourly keeps the newest of each of so many hours that have one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepHourly *int32 `json:"keepHourly,omitempty"`
	// KeepDaily does so for days of the schedule's zone.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepDaily *int32 `json:"keepDaily,omitempty"`
	// KeepWeekly does so for weeks, which begin on Monday (ISO 8601).
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepWeekly *int32 `json:"keepWeekly,omitempty"`
	// KeepMonthly does so for months.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepMonthly *int32 `json:"keepMonthly,omitempty"`
	// KeepYearly does so for years.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	KeepYearly *int32 `json:"keepYearly,omitempty"`
	// KeepWithin keeps all that are no older than this when the newest good one was
	// cut, for example 48h, 14d, 3m (months) or 1y6m: where backups fail, nothing is
	// removed by the mere passing of time.
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}y)?([0-9]{1,5}m)?([0-9]{1,5}d)?([0-9]{1,6}h)?$`
	// +kubebuilder:validation:MinLength=2
	KeepWithin string `json:"keepWithin,omitempty"`
	// Failed says how long failed backups are kept for a look. They hold no storage.
	// +kubebuilder:default={}
	Failed FailedRetention `json:"failed,omitempty"`
}

// FailedRetention says which failed backups are kept: those that both rules keep.
type FailedRetention struct {
	// KeepLast keeps at most so many.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	KeepLast *int32 `json:"keepLast,omitempty"`
	// KeepWithin keeps none that is older today; as in retention.keepWithin.
	// +kubebuilder:default="30d"
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}y)?([0-9]{1,5}m)?([0-9]{1,5}d)?([0-9]{1,6}h)?$`
	KeepWithin string `json:"keepWithin,omitempty"`
}
