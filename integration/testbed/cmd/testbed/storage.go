package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/medic/cht-backup/integration/testbed/cluster"
	"github.com/medic/cht-backup/integration/testbed/loopcsi"
)

// storage does what a cloud does with the volumes of driver ebs.csi.aws.com, for a
// fake of EC2 that shall have real bytes.
func storage(ctx context.Context, bed *cluster.Testbed, args []string) error {
	s := loopcsi.OpenStorage(filepath.Join(bed.Dir, "pool", cluster.EBSDriver))
	for _, id := range args[1:] {
		if id != filepath.Base(id) {
			return fmt.Errorf("%q is no id", id)
		}
	}
	switch command := args[0]; {
	case command == "snapshot" && len(args) == 3:
		return s.Snapshot(ctx, args[1], args[2])
	case command == "copy" && len(args) == 3:
		return s.Copy(ctx, args[1], args[2])
	case command == "blank" && len(args) == 3:
		bytes, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return s.Volume(ctx, "", args[1], bytes)
	case command == "volume" && len(args) == 4:
		bytes, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return err
		}
		return s.Volume(ctx, args[1], args[2], bytes)
	case command == "delete-snapshot" && len(args) == 2:
		return s.DeleteSnapshot(ctx, args[1])
	case command == "delete-volume" && len(args) == 2:
		return s.DeleteVolume(ctx, args[1])
	}
	return errUsage
}
