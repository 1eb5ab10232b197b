package show

import (
	"time"

	"github.com/medic/cht-backup/schedule/when"
)

// local writes a moment as a clock on the wall of that zone shows it; in UTC where
// the zone is not known here.
func local(t time.Time, zone string) string {
	at, err := when.Zone(zone)
	if err != nil {
		at = time.UTC
	}
	return t.In(at).Format("Mon 2 Jan 15:04 MST")
}
