package show

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// disproved gives the condition of a backup whose latest restore found that its
// data is not what was recorded; nil when none did.
func disproved(b *api.Backup) *metav1.Condition {
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionVerified); c != nil && c.Status == metav1.ConditionFalse {
		return c
	}
	return nil
}

// verifiedText tells which restore proved a backup, how well, and how long the
// recovery took; "" when none did.
func verifiedText(b *api.Backup) string {
	proof := ""
	if v := b.Status.Verified; v != nil {
		proof = fmt.Sprintf("%s, %s, by restore %s: %d documents", v.Level, moment(v.Time.Time), v.Restore, v.Documents)
		for _, more := range []struct {
			n    int64
			what string
		}{{int64(v.Databases), "%d databases"}, {int64(v.Shards), "%d shards"}, {v.Sampled, "%d of the sample found again"}, {v.Streamed, "%d read in full"},
			{v.Attachments, "%d attachments read"}, {int64(v.Views), "%d views answered"}} {
			if more.n > 0 {
				proof += ", " + fmt.Sprintf(more.what, more.n)
			}
		}
		proof += "; recovery took " + seconds(time.Duration(v.RestoreMilliseconds)*time.Millisecond)
	}
	c := disproved(b)
	switch {
	case c == nil:
		return proof
	case proof == "":
		return fmt.Sprintf("NO (%s, %s): %s", c.Reason, moment(c.LastTransitionTime.Time), oneLine(c.Message))
	default:
		return fmt.Sprintf("NO (%s, %s): %s; before that: %s", c.Reason, moment(c.LastTransitionTime.Time), oneLine(c.Message), proof)
	}
}

// verifiedCell is the same in a word and an age.
func verifiedCell(b *api.Backup, now time.Time) string {
	if c := disproved(b); c != nil {
		return "FAILED " + age(c.LastTransitionTime.Time, now)
	}
	if v := b.Status.Verified; v != nil {
		return string(v.Level) + " " + age(v.Time.Time, now)
	}
	return none
}
