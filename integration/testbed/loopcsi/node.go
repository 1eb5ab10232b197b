package loopcsi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/medic/cht-backup/integration/testbed/mounts"
	"github.com/medic/cht-backup/integration/testbed/tool"
)

type node struct {
	csi.UnimplementedNodeServer
	id         string
	controller *controller

	locks sync.Map // volume id → *sync.Mutex: the kubelet repeats calls that take long
}

func (n *node) lock(id string) func() {
	mu, _ := n.locks.LoadOrStore(id, &sync.Mutex{})
	mu.(*sync.Mutex).Lock()
	return mu.(*sync.Mutex).Unlock
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.id}, nil
}

func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{{
		Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME}}}}}, nil
}

func (n *node) NodeStageVolume(_ context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	id, path, capability := req.GetVolumeId(), req.GetStagingTargetPath(), req.GetVolumeCapability()
	if id == "" || path == "" || capability == nil {
		return nil, status.Error(codes.InvalidArgument, "which volume, to where, with which capability?")
	}
	if err := checkCapability(capability); err != nil {
		return nil, err
	}
	v, err := n.controller.volume(id)
	if err != nil {
		return nil, err
	}
	defer n.lock(id)()
	if _, mounted, err := mounts.At(path); err != nil || mounted {
		return &csi.NodeStageVolumeResponse{}, err
	}
	fsType := capability.GetMount().GetFsType()
	if fsType == "" {
		fsType = "ext4"
	}
	image := n.controller.pool.image(volumes, id)
	if err := stage(image, path, fsType, capability.GetMount().GetMountFlags(), v.Grow); err != nil {
		return nil, status.Errorf(codes.Internal, "stage volume %s: %v", id, err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// stage attaches an image, makes a file system if there is none, and mounts it. The
// copy of a smaller volume is grown.
func stage(image, path, fsType string, flags []string, grow bool) error {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return err
	}
	device, err := mounts.Attach(image)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }() // once unmounted, the kernel detaches it
	blank, err := isBlank(device.Name())
	if err != nil {
		return err
	}
	if blank {
		mkfs := []string{"mkfs.ext4", "-q", "-F", "-m0", "-E", "nodiscard", device.Name()}
		if fsType == "xfs" {
			mkfs = []string{"mkfs.xfs", "-q", "-f", "-K", device.Name()}
		}
		if err := tool.Run(mkfs...); err != nil {
			return err
		}
	}
	if grow && fsType == "ext4" {
		if err := growExt4(device.Name()); err != nil {
			return err
		}
	}
	if fsType == "xfs" {
		flags = append(slices.Clone(flags), "nouuid") // a copy has its source's UUID
	}
	argv := []string{"mount", "-t", fsType}
	if len(flags) > 0 {
		argv = append(argv, "-o", strings.Join(flags, ","))
	}
	if err := tool.Run(append(argv, device.Name(), path)...); err != nil {
		return err
	}
	if grow && fsType == "xfs" && !slices.Contains(flags, "ro") {
		if err := tool.Run("xfs_growfs", "-d", path); err != nil {
			return errors.Join(err, unix.Unmount(path, 0))
		}
	}
	return nil
}

// growExt4 grows an unmounted file system to its device: growing a mounted one
// needs CAP_SYS_RESOURCE, which machines for tests often lack. resize2fs insists on
// a check, which replays the journal as a mount would.
func growExt4(device string) error {
	err := tool.Run("e2fsck", "-f", "-p", device)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) { // 1: corrected
		return err
	}
	return tool.Run("resize2fs", device)
}

// isBlank says that blkid finds nothing at all on a device. -p reads the device
// and not a cache.
func isBlank(device string) (bool, error) {
	err := exec.Command("blkid", "-p", "-u", "filesystem", device).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a file system on %s: %w", device, err)
	}
	return false, nil
}

func (n *node) NodeUnstageVolume(_ context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "which volume, from where?")
	}
	defer n.lock(req.GetVolumeId())()
	if err := unmount(req.GetStagingTargetPath()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (n *node) NodePublishVolume(_ context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	id, staging, target := req.GetVolumeId(), req.GetStagingTargetPath(), req.GetTargetPath()
	if id == "" || staging == "" || target == "" || req.GetVolumeCapability() == nil {
		return nil, status.Error(codes.InvalidArgument, "which volume, from and to where, with which capability?")
	}
	if _, err := n.controller.volume(id); err != nil {
		return nil, err
	}
	defer n.lock(id)()
	if _, mounted, err := mounts.At(target); err != nil || mounted {
		return &csi.NodePublishVolumeResponse{}, err
	}
	if err := publish(staging, target, req.GetReadonly()); err != nil {
		return nil, status.Errorf(codes.Internal, "publish volume %s: %v", id, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func publish(staging, target string, readonly bool) error {
	if _, mounted, err := mounts.At(staging); err != nil || !mounted {
		// Without this a driver bug would bind a directory of the node's own disk,
		// and a freeze of it would stop the machine.
		return errors.Join(err, fmt.Errorf("nothing is mounted at %s", staging))
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	if err := unix.Mount(staging, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", staging, target, err)
	}
	if !readonly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return errors.Join(fmt.Errorf("make %s read-only: %w", target, err), unix.Unmount(target, 0))
	}
	return nil
}

func (n *node) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "which volume, from where?")
	}
	defer n.lock(req.GetVolumeId())()
	err := unmount(req.GetTargetPath())
	if err == nil {
		if err = os.Remove(req.GetTargetPath()); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// unmount takes a mount away; that nothing is mounted is no error.
func unmount(path string) error {
	_, mounted, err := mounts.At(path)
	if err != nil || !mounted {
		return err
	}
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}
