package loopcsi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/medic/cht-backup/integration/testbed/mounts"
)

const (
	blockBytes   = 1 << 20
	defaultBytes = 1 << 30
	maxBytes     = 16 << 30
)

type controller struct {
	csi.UnimplementedControllerServer
	pool      *pool
	cuts      *cuts
	snapshots bool

	volumeMu sync.Mutex // one create or delete at a time; each takes milliseconds
}

func (c *controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	have := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
	}
	if c.snapshots {
		have = append(have,
			csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
			csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS)
	}
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, h := range have {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: h}}})
	}
	return resp, nil
}

func (c *controller) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "a volume needs a name")
	}
	if err := checkCapabilities(req.GetVolumeCapabilities()); err != nil {
		return nil, err
	}
	bytes, err := wantedBytes(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	faults, err := parseVolumeFaults(req.GetParameters())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if faults.FailCode != codes.OK {
		return nil, status.Errorf(faults.FailCode, "volume %s: failing as the class says", req.GetName())
	}
	select {
	case <-time.After(faults.CreateLatency):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	c.volumeMu.Lock()
	defer c.volumeMu.Unlock()
	v := Volume{ID: c.pool.ids(volumes, req.GetName()), Name: req.GetName(), Bytes: bytes,
		FromSnap: req.GetVolumeContentSource().GetSnapshot().GetSnapshotId(),
		FromVol:  req.GetVolumeContentSource().GetVolume().GetVolumeId()}
	var have Volume
	found, err := c.pool.load(volumes, v.ID, &have)
	switch {
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	case found && (have.FromSnap != v.FromSnap || have.FromVol != v.FromVol || !fits(have.Bytes, req.GetCapacityRange())):
		return nil, status.Errorf(codes.AlreadyExists, "volume %s exists with %d bytes from %q", v.Name, have.Bytes, have.FromSnap+have.FromVol)
	case found:
		return created(have, req), nil
	}
	source, least, err := c.contentSource(v)
	if err != nil {
		return nil, err
	}
	if v.Bytes < least && req.GetCapacityRange().GetRequiredBytes() > 0 {
		return nil, status.Errorf(codes.OutOfRange, "volume %s: %d bytes cannot hold a copy of %d", v.Name, v.Bytes, least)
	}
	v.Bytes = max(v.Bytes, least)
	v.Grow = source != "" && v.Bytes > least
	if _, _, err = c.pool.create(volumes, v.ID, v.Bytes, source); err == nil {
		err = c.pool.store(volumes, v.ID, v)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "create volume %s: %v", v.Name, err)
	}
	return created(v, req), nil
}

// contentSource returns the image that a new volume begins as, and its size.
func (c *controller) contentSource(v Volume) (image string, bytes int64, err error) {
	switch {
	case v.FromSnap != "":
		var s Snapshot
		found, err := c.pool.load(snapshots, v.FromSnap, &s)
		if err != nil {
			return "", 0, status.Error(codes.Internal, err.Error())
		}
		if !found {
			return "", 0, status.Errorf(codes.NotFound, "no snapshot %s", v.FromSnap)
		}
		if time.Now().Before(s.ReadyAt) {
			return "", 0, status.Errorf(codes.Unavailable, "snapshot %s is not ready before %s", s.ID, s.ReadyAt)
		}
		return c.pool.image(snapshots, s.ID), s.Bytes, nil
	case v.FromVol != "":
		from, err := c.volume(v.FromVol)
		return c.pool.image(volumes, from.ID), from.Bytes, err
	}
	return "", 0, nil
}

// volume loads a record; NotFound where there is none.
func (c *controller) volume(id string) (Volume, error) {
	var v Volume
	found, err := c.pool.load(volumes, id, &v)
	if err != nil {
		return v, status.Error(codes.Internal, err.Error())
	}
	if !found {
		return v, status.Errorf(codes.NotFound, "no volume %q", id)
	}
	return v, nil
}

func created(v Volume, req *csi.CreateVolumeRequest) *csi.CreateVolumeResponse {
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: v.ID, CapacityBytes: v.Bytes, ContentSource: req.GetVolumeContentSource()}}
}

func (c *controller) DeleteVolume(_ context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "which volume?")
	}
	c.volumeMu.Lock()
	defer c.volumeMu.Unlock()
	if _, err := c.volume(req.GetVolumeId()); status.Code(err) == codes.NotFound {
		return &csi.DeleteVolumeResponse{}, nil
	}
	// A disk in use cannot be deleted; the provisioner comes back.
	attached, err := mounts.Loops(c.pool.image(volumes, req.GetVolumeId()))
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if len(attached) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached", req.GetVolumeId())
	}
	if err := c.pool.remove(volumes, req.GetVolumeId()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *controller) ValidateVolumeCapabilities(_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" || len(req.GetVolumeCapabilities()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "which volume, and which capabilities?")
	}
	if _, err := c.volume(req.GetVolumeId()); err != nil {
		return nil, err
	}
	if err := checkCapabilities(req.GetVolumeCapabilities()); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeCapabilities: req.GetVolumeCapabilities(), VolumeContext: req.GetVolumeContext(), Parameters: req.GetParameters()}}, nil
}

func (c *controller) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if !c.snapshots {
		return nil, status.Error(codes.Unimplemented, "this driver has no snapshots")
	}
	if req.GetName() == "" || req.GetSourceVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "a snapshot needs a name and a source volume")
	}
	faults, err := parseSnapshotFaults(req.GetParameters())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	v, err := c.volume(req.GetSourceVolumeId())
	if err != nil {
		return nil, err
	}
	s, err := c.cuts.take(ctx, cutOrder{name: req.GetName(), source: v.ID, bytes: v.Bytes, faults: faults,
		namespace: req.GetParameters()[sidecarPrefix+"volumesnapshot/namespace"], failKey: failKey(v.ID, req.GetParameters())})
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: describe(s)}, nil
}

// failKey tells volumes and classes apart, not the single snapshots.
func failKey(volume string, parameters map[string]string) string {
	key := volume
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if !strings.HasPrefix(name, sidecarPrefix) {
			key += fmt.Sprintf("|%s=%s", name, parameters[name])
		}
	}
	return key
}

func describe(s Snapshot) *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: s.ID, SourceVolumeId: s.Source, SizeBytes: s.Bytes,
		CreationTime: timestamppb.New(s.Cut), ReadyToUse: !time.Now().Before(s.ReadyAt)}
}

func (c *controller) DeleteSnapshot(_ context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	id := req.GetSnapshotId()
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "which snapshot?")
	}
	var s Snapshot
	found, err := c.pool.load(snapshots, id, &s)
	if err == nil && found {
		err = c.pool.remove(snapshots, id)
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

func (c *controller) ListSnapshots(_ context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	all, err := c.pool.snapshotList()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	all = slices.DeleteFunc(all, func(s Snapshot) bool {
		return req.GetSnapshotId() != "" && s.ID != req.GetSnapshotId() ||
			req.GetSourceVolumeId() != "" && s.Source != req.GetSourceVolumeId()
	})
	first := 0
	if token := req.GetStartingToken(); token != "" {
		if first, err = strconv.Atoi(token); err != nil || first < 0 || first > len(all) {
			return nil, status.Errorf(codes.Aborted, "starting token %q is not one of ours", token)
		}
	}
	resp := &csi.ListSnapshotsResponse{}
	for i, s := range all[first:] {
		if n := req.GetMaxEntries(); n > 0 && i == int(n) {
			resp.NextToken = strconv.Itoa(first + i)
			break
		}
		resp.Entries = append(resp.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: describe(s)})
	}
	return resp, nil
}

// wantedBytes is the size for a capacity range.
func wantedBytes(r *csi.CapacityRange) (int64, error) {
	bytes := r.GetRequiredBytes()
	if bytes == 0 {
		bytes = defaultBytes
		if limit := r.GetLimitBytes(); limit > 0 {
			bytes = min(bytes, limit)
		}
	}
	if rounded := (bytes + blockBytes - 1) / blockBytes * blockBytes; fits(rounded, r) {
		bytes = rounded
	}
	if bytes > maxBytes || !fits(bytes, r) {
		return 0, status.Errorf(codes.OutOfRange, "no volume has %d bytes (limit %d, largest %d)", bytes, r.GetLimitBytes(), int64(maxBytes))
	}
	return bytes, nil
}

func fits(bytes int64, r *csi.CapacityRange) bool {
	return bytes >= r.GetRequiredBytes() && (r.GetLimitBytes() == 0 || bytes <= r.GetLimitBytes())
}

func checkCapabilities(all []*csi.VolumeCapability) error {
	if len(all) == 0 {
		return status.Error(codes.InvalidArgument, "a volume needs capabilities")
	}
	for _, one := range all {
		if err := checkCapability(one); err != nil {
			return err
		}
	}
	return nil
}

func checkCapability(one *csi.VolumeCapability) error {
	switch one.GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
	default:
		return status.Errorf(codes.InvalidArgument, "access mode %s: a loop device is on one node", one.GetAccessMode().GetMode())
	}
	if one.GetMount() == nil {
		return status.Error(codes.InvalidArgument, "only volumes with a file system")
	}
	switch one.GetMount().GetFsType() {
	case "", "ext4", "xfs":
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "file system %q: neither ext4 nor xfs", one.GetMount().GetFsType())
}
