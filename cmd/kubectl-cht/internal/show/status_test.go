package show

import (
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
)

func aReport() status.Report {
	stall, size, documents := int64(210), int64(3<<30), int64(123_456)
	return status.Report{Time: start, Instances: []status.Instance{
		{Namespace: "kilifi", State: status.Critical, Running: "manual-1", Trouble: []status.Trouble{
			{Level: status.Critical, Code: status.NeverBackedUp, Words: "never backed up"},
			{Level: status.Warning, Code: status.BackupsFailed, Words: "last backup failed: PodNotReady", Detail: "couchdb-2\x1b[2J\nis not ready"}}},
		{Namespace: "medic", State: status.OK, LastGood: &status.GoodBackup{Name: "nightly-1", CutTime: start.Add(-8 * time.Hour), StallMilliseconds: &stall, DataBytes: &size, Documents: &documents},
			LastVerified: &status.Proof{Backup: "nightly-0", Level: api.VerifyFull, Time: start.AddDate(0, 0, -3), RestoreMilliseconds: 65_000},
			LastFileCopy: &status.FileCopy{Backup: "nightly-0", CutTime: start.Add(-32 * time.Hour), Bytes: 3 << 30, SentBytes: 50 << 20},
			NextRun:      &status.Run{Schedule: "nightly", Time: start, TimeZone: "Africa/Nairobi"}, Growth: &status.Growth{BytesPerDay: 12 << 20, OverSeconds: 7 * 86400},
			Backups: status.Tally{Good: 8, Failed: 1}, Schedules: []string{"nightly"}},
	}}
}

func TestStatus(t *testing.T) {
	equal(t, Status(aReport(), false, false), `
STATE     NAMESPACE  LAST GOOD  RECOVERY POINT  VERIFIED  NEXT RUN             STALL   SIZE   GROWTH       TROUBLE
critical  kilifi     -          -               never     running              -       -      -            never backed up; last backup failed: PodNotReady
ok        medic      nightly-1  8h              Full 3d   Sun 1 Mar 04:00 EAT  210 ms  3 GiB  +12 MiB/day  -`)
	equal(t, Status(aReport(), true, false), `
STATE     NAMESPACE  LAST GOOD  RECOVERY POINT  VERIFIED  NEXT RUN             STALL   SIZE   GROWTH       DOCUMENTS  GOOD  FAILED  RECOVERY TOOK  FILE COPY         SCHEDULES  TROUBLE
critical  kilifi     -          -               never     running              -       -      -            -          0     0       -              -                 -          never backed up; last backup failed: PodNotReady (couchdb-2[2J is not ready)
ok        medic      nightly-1  8h              Full 3d   Sun 1 Mar 04:00 EAT  210 ms  3 GiB  +12 MiB/day  123456     8     1       1m5s           32h, 50 MiB sent  nightly    -`)
}

func TestStatusColour(t *testing.T) {
	plain, painted := Status(aReport(), false, false), Status(aReport(), false, true)
	for i, want := range []string{"STATE", "\x1b[31mcritical\x1b[0m  kilifi", "\x1b[32mok\x1b[0m        medic"} {
		if !strings.HasPrefix(painted[i], want) {
			t.Errorf("line %q", painted[i])
		}
		bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(painted[i])
		if bare != plain[i] {
			t.Errorf("colour moved the columns:\n%s\n%s", bare, plain[i])
		}
	}
}

func TestGrowthCell(t *testing.T) {
	for want, g := range map[string]*status.Growth{
		"-":                     nil,
		"+1 KiB/day":            {BytesPerDay: 1 << 10, OverSeconds: 7*86400 - 3600},
		"-2 MiB/day over 3d":    {BytesPerDay: -2 << 20, OverSeconds: 3 * 86400},
		"+0 B/day over 5h":      {OverSeconds: 5 * 3600},
		"+1.5 GiB/day over 20d": {BytesPerDay: 3 << 29, OverSeconds: 20 * 86400},
	} {
		if got := growthCell(g); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLocal(t *testing.T) {
	if got := local(start, "Africa/Atlantis"); got != "Sun 1 Mar 01:00 UTC" {
		t.Errorf("a zone that is not known: %q", got)
	}
}
