package status

import (
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Version of the Report's form. It is raised when a field changes its meaning or
// goes; fields may be added without.
const Version = 1

// Report is what `kubectl cht status -o json` prints. Its names are an interface:
// monitoring reads them.
type Report struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	// Instances, those in the worst state first.
	Instances []Instance `json:"instances"`
	// Clones are namespaces that were left out: a restore keeps a clone there, and
	// nobody backs it up.
	Clones []string `json:"clones,omitempty"`
	// Notes say what could not be looked at.
	Notes []string `json:"notes,omitempty"`
}

// Level says how bad something is.
type Level string

// The levels.
const (
	OK Level = "ok"
	// Note is worth a word, and no trouble.
	Note Level = "note"
	// Warning wants somebody to act within days.
	Warning Level = "warning"
	// Critical: data may be lost for good, today.
	Critical Level = "critical"
)

func (l Level) rank() int {
	switch l {
	case Critical:
		return 3
	case Warning:
		return 2
	case Note:
		return 1
	default:
		return 0
	}
}

// Instance is how well one CHT is backed up. Times that are not known are left out.
type Instance struct {
	Namespace string `json:"namespace"`
	// State is ok, warning or critical: the worst of Trouble, whose notes do not count.
	State Level `json:"state"`
	// LastGood is the good backup with the latest cut: complete, and not found
	// broken by a restore.
	LastGood *GoodBackup `json:"lastGood,omitempty"`
	// RecoveryPointTime is its cut: what came after it would be lost today.
	RecoveryPointTime *time.Time `json:"recoveryPointTime,omitempty"`
	// RecoveryPointAgeSeconds is how long ago that was.
	RecoveryPointAgeSeconds *int64 `json:"recoveryPointAgeSeconds,omitempty"`
	// LastFileCopy is the good backup with the latest cut whose files are all in the
	// catalog's repository.
	LastFileCopy *FileCopy `json:"lastFileCopy,omitempty"`
	// LastVerified is the latest proof of a backup of this instance.
	LastVerified *Proof `json:"lastVerified,omitempty"`
	// NextRun is the next run of the schedules that are not suspended.
	NextRun *Run `json:"nextRun,omitempty"`
	// Running is a backup under way.
	Running string `json:"running,omitempty"`
	// Growth of the data, where two backups tell their size.
	Growth *Growth `json:"growth,omitempty"`
	// Backups that are good, that failed, and that are held.
	Backups Tally `json:"backups"`
	// Schedules of the namespace.
	Schedules []string `json:"schedules,omitempty"`
	// Trouble, the worst first; notes last.
	Trouble []Trouble `json:"trouble,omitempty"`
}

// GoodBackup is one that a restore may rely on.
type GoodBackup struct {
	Name              string          `json:"name"`
	Schedule          string          `json:"schedule,omitempty"`
	CutTime           time.Time       `json:"cutTime"`
	Consistency       api.Consistency `json:"consistency,omitempty"`
	StallMilliseconds *int64          `json:"stallMilliseconds,omitempty"`
	DataBytes         *int64          `json:"dataBytes,omitempty"`
	Documents         *int64          `json:"documents,omitempty"`
}

// FileCopy is a backup whose files lie in the catalog.
type FileCopy struct {
	Backup  string    `json:"backup"`
	CutTime time.Time `json:"cutTime"`
	// Bytes of the files, and of what was sent for them, compressed and sealed.
	Bytes     int64 `json:"bytes"`
	SentBytes int64 `json:"sentBytes"`
}

// Proof is a restore that proved a backup.
type Proof struct {
	Backup string                `json:"backup"`
	Level  api.VerificationLevel `json:"level"`
	Time   time.Time             `json:"time"`
	// RestoreMilliseconds is how long that recovery took.
	RestoreMilliseconds int64 `json:"restoreMilliseconds"`
}

// Run is a run of a schedule to come.
type Run struct {
	Schedule string    `json:"schedule"`
	Time     time.Time `json:"time"`
	TimeZone string    `json:"timeZone"`
}

// Growth is the difference in size between the last good backup and an earlier one.
type Growth struct {
	BytesPerDay int64 `json:"bytesPerDay"`
	// Since names the earlier backup, OverSeconds the time between the two cuts:
	// seven days, or what comes nearest.
	Since       string `json:"since"`
	OverSeconds int64  `json:"overSeconds"`
}

// Tally counts backups.
type Tally struct {
	Good   int `json:"good"`
	Failed int `json:"failed"`
	Held   int `json:"held"`
}

// Trouble is one thing that is wrong, or worth a word.
type Trouble struct {
	Level Level `json:"level"`
	// Code is for programs; see the constants.
	Code string `json:"code"`
	// Words are for people, in a line. Detail is what a message of the cluster adds.
	Words  string `json:"words"`
	Detail string `json:"detail,omitempty"`
}

// The codes of Trouble.
const (
	NeverBackedUp    = "NeverBackedUp"
	NoSchedule       = "NoSchedule"
	Suspended        = "Suspended"
	InvalidSchedule  = "InvalidSchedule"
	Unattended       = "Unattended"
	RecoveryPointOld = "RecoveryPointOld"
	BackupsFailed    = "BackupsFailed"
	FoundBroken      = "FoundBroken"
	DrillFailed      = "DrillFailed"
	NeverProven      = "NeverProven"
	ProofOld         = "ProofOld"
	RunsMissed       = "RunsMissed"
	ScheduleNotReady = "ScheduleNotReady"
	Waiting          = "Waiting"
	CrashConsistent  = "CrashConsistent"
	NoCHT            = "NoCHT"
	Restoring        = "Restoring"
	FileCopyLate     = "FileCopyLate"
	FilesNotCopied   = "FilesNotCopied"
	Held             = "Held"
)

// InTrouble counts the instances in a state other than ok.
func (r Report) InTrouble() (n int) {
	for i := range r.Instances {
		if r.Instances[i].State != OK {
			n++
		}
	}
	return n
}
