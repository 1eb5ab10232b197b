package catalog

import (
	"fmt"
	"regexp"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var (
	volumeForm  = regexp.MustCompile(`^vol-[0-9a-f]{8,40}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	zoneForm    = regexp.MustCompile(`^[a-z0-9-]{0,63}$`)
	accountForm = regexp.MustCompile(`^([0-9]{12})?$`)
	handleForm  = regexp.MustCompile(`^snap-[0-9a-f]{8,40}$`)
	typeForm    = regexp.MustCompile(`^[a-z0-9]{0,16}$`)
)

// maxCopies of one snapshot.
const maxCopies = 100

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

func checkCopies(copies []Copy) error {
	if len(copies) > maxCopies {
		return fmt.Errorf("%d copies", len(copies))
	}
	for _, c := range copies {
		switch {
		case !regionForm.MatchString(c.Region):
			return fmt.Errorf("copies: Region %q is none", clip(c.Region))
		case !accountForm.MatchString(c.Account):
			return fmt.Errorf("copies: account %q is none", clip(c.Account))
		case !handleForm.MatchString(c.Handle):
			return fmt.Errorf("copies: snapshot %q is none", clip(c.Handle))
		}
		if err := checkText("copies: name", c.Name, 63); err != nil {
			return err
		}
		if err := checkText("copies: kmsKeyID", c.KMSKeyID, 2048); err != nil {
			return err
		}
	}
	return nil
}
