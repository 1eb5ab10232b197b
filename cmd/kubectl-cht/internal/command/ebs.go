package command

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/ec2tags"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// ebsFlags say how volumes are made from EBS snapshots: spec.ebs of a Restore.
type ebsFlags struct {
	provision, region, volumeType, key string
	iops, throughput, rate             int32
	given                              func(flag string) bool
}

func (f *ebsFlags) add(flags *pflag.FlagSet) {
	f.given = flags.Changed
	flags.StringVar(&f.provision, "ebs-provision", "", "Who makes EBS volumes: Driver, the CSI driver, or Static, EC2 by itself (default: Driver where the cluster can)")
	flags.StringVar(&f.region, "ebs-region", "", "Region of the EBS snapshots, to take a copy (default: where the cluster is, if complete ones are there)")
	flags.StringVar(&f.volumeType, "ebs-type", "", "Type of the EBS volumes, such as gp3 (default: the source's)")
	flags.Int32Var(&f.iops, "ebs-iops", 0, "IOPS of the EBS volumes, 100 to 256000 (default: the source's)")
	flags.Int32Var(&f.throughput, "ebs-throughput", 0, "Throughput of the EBS volumes in MiB/s, 125 to 2000 (default: the source's)")
	flags.Int32Var(&f.rate, "ebs-initialization-rate", 0, "Load the EBS volumes from the snapshots at this many MiB/s, 100 to 300, which is billed")
	flags.StringVar(&f.key, "ebs-kms-key", "", "KMS key of the EBS volumes (default: the snapshots')")
}

var (
	provisions  = []string{string(api.ProvisionAuto), string(api.ProvisionDriver), string(api.ProvisionStatic)}
	volumeTypes = []string{"gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"}
)

// spec gives what was asked for, nil for nothing. The API server would refuse the same,
// but only once a namespace is made.
func (f *ebsFlags) spec() (*api.EBSRestore, error) {
	spec, asked := &api.EBSRestore{}, false
	for _, number := range []struct {
		flag        string
		value       int32
		least, most int32
		set         func(int32)
	}{
		{"ebs-iops", f.iops, 100, 256000, func(n int32) { spec.IOPS = &n }},
		{"ebs-throughput", f.throughput, 125, 2000, func(n int32) { spec.ThroughputMiBps = &n }},
		{"ebs-initialization-rate", f.rate, 100, 300, func(n int32) { spec.InitializationRateMiBps = &n }},
	} {
		if !f.given(number.flag) {
			continue
		}
		if number.value < number.least || number.value > number.most {
			return nil, exit.Errorf(exit.Usage, "--%s %d must lie between %d and %d", number.flag, number.value, number.least, number.most)
		}
		number.set(number.value)
		asked = true
	}
	if f.given("ebs-provision") {
		found, err := oneOf("--ebs-provision", f.provision, provisions)
		if err != nil {
			return nil, err
		}
		spec.Provision, asked = api.EBSProvision(found), true
	}
	if f.given("ebs-region") {
		if err := ec2tags.CheckRegion(f.region); err != nil {
			return nil, exit.Errorf(exit.Usage, "--ebs-region: %w", err)
		}
		spec.Region, asked = f.region, true
	}
	if f.given("ebs-type") {
		if !slices.Contains(volumeTypes, f.volumeType) {
			return nil, exit.Errorf(exit.Usage, "--ebs-type %q is not known; use one of: %s", f.volumeType, strings.Join(volumeTypes, ", "))
		}
		spec.VolumeType, asked = f.volumeType, true
	}
	if f.given("ebs-kms-key") {
		if f.key == "" || len(f.key) > 2048 {
			return nil, exit.Errorf(exit.Usage, "--ebs-kms-key is empty or too long; give a key's id, alias or ARN, or leave it out")
		}
		spec.KMSKeyID, asked = f.key, true
	}
	if !asked {
		return nil, nil
	}
	return spec, nil
}
