package catalog

import (
	"fmt"
	"regexp"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var (
	volumeForm  = regexp.MustCompile(`^vol-[0-9A-Za-z]{1,40}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	zoneForm    = regexp.MustCompile(`^[a-z0-9-]{0,63}$`)
	accountForm = regexp.MustCompile(`^([0-9]{12})?$`)
	typeForm    = regexp.MustCompile(`^[a-z0-9]{0,16}$`)
)

// IsRegion tells whether a text can be an AWS Region's name.
func IsRegion(text string) bool { return regionForm.MatchString(text) }

// IsAccount tells whether a text can be an AWS account's number, or is none at all.
func IsAccount(text string) bool { return accountForm.MatchString(text) }

// IsCopyName tells whether a text can be the name of a copy in a Backup's spec.
func IsCopyName(text string) bool { return copyForm.MatchString(text) }

// IsEBSSnapshot tells whether a text can be the id of an EBS snapshot.
func IsEBSSnapshot(text string) bool { return snapshotForm.MatchString(text) }

// maxVolumeGiB is EBS's own bound, 64 TiB.
const maxVolumeGiB = 64 << 10

func checkEBS(v *api.EBSVolume) error {
	if v == nil {
		return nil
	}
	switch {
	case v.VolumeID != "" && !volumeForm.MatchString(v.VolumeID):
		return fmt.Errorf("ebs: volume %q is none", clip(v.VolumeID))
	case !regionForm.MatchString(v.Region):
		return fmt.Errorf("ebs: Region %q is none", clip(v.Region))
	case !zoneForm.MatchString(v.Zone):
		return fmt.Errorf("ebs: zone %q is none", clip(v.Zone))
	case !accountForm.MatchString(v.Account):
		return fmt.Errorf("ebs: account %q is none", clip(v.Account))
	case !typeForm.MatchString(v.Type):
		return fmt.Errorf("ebs: volume type %q is none", clip(v.Type))
	case v.SizeGiB < 0 || v.SizeGiB > maxVolumeGiB:
		return fmt.Errorf("ebs: a volume of %d GiB", v.SizeGiB)
	}
	for what, n := range map[string]*int32{"iops": v.IOPS, "throughputMiBps": v.ThroughputMiBps} {
		if n != nil && *n < 0 {
			return fmt.Errorf("ebs: %s is %d", what, *n)
		}
	}
	return checkText("ebs: kmsKeyID", v.KMSKeyID, 2048)
}

// maxCopies of one snapshot: spec.ebs.copies has 8, and a record may be imported with
// what its catalog notes.
const maxCopies = 100

var (
	copyForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	snapshotForm = regexp.MustCompile(`^snap-[0-9a-f]{8,40}$`)
)

func checkCopies(copies []Copy) error {
	if len(copies) > maxCopies {
		return fmt.Errorf("copies: there are %d", len(copies))
	}
	for _, c := range copies {
		if !copyForm.MatchString(c.Name) || !regionForm.MatchString(c.Region) || !accountForm.MatchString(c.Account) || !snapshotForm.MatchString(c.Handle) {
			return fmt.Errorf("copies: %q in %q of %q: %q is none", clip(c.Name), clip(c.Region), clip(c.Account), clip(c.Handle))
		}
		if err := checkText("copies: kmsKeyID", c.KMSKeyID, 2048); err != nil {
			return err
		}
	}
	return nil
}
