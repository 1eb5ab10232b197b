package loopcsi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/medic/cht-backup/integration/testbed/mounts"
)

// TestMain drops the log of calls, which would bury a failure.
func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelError)
	os.Exit(m.Run())
}

// serve runs a driver over a pool of its own.
func serve(t *testing.T) (dir, socket string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	dir, err := os.MkdirTemp("", "loopcsi-") // short: socket paths hold 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := mounts.ThawUnder(dir); err != nil {
			t.Error(err)
		}
		if err := errors.Join(mounts.UnmountUnder(dir), mounts.DetachUnder(dir)); err != nil {
			t.Fatal(err) // and keep the directory: something is still mounted in it
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := mounts.Image(filepath.Join(dir, "pool.img"), 4<<30, filepath.Join(dir, "pool"), "xfs", "mkfs.xfs", "-q", "-K", "-m", "reflink=1"); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "csi.sock")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Driver: "loop.test", Node: "n", Pool: filepath.Join(dir, "pool"), Socket: socket, Snapshots: true})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir, socket
}

func TestSanity(t *testing.T) {
	dir, socket := serve(t)
	config := sanity.NewTestConfig()
	config.Address = "unix:" + socket
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeSize = 64 << 20
	sanity.Test(t, config)
}

type driver struct {
	csi.ControllerClient
	node csi.NodeClient
	dir  string
}

func connect(t *testing.T) *driver {
	t.Helper()
	dir, socket := serve(t)
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &driver{ControllerClient: csi.NewControllerClient(conn), node: csi.NewNodeClient(conn), dir: dir}
}

func capability(fsType string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}},
	}
}

// mount makes a volume, from a snapshot if one is named, and returns where it is mounted.
func (d *driver) mount(t *testing.T, name, fsType, snapshot string, bytes int64) string {
	t.Helper()
	req := &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: bytes},
		VolumeCapabilities: []*csi.VolumeCapability{capability(fsType)}}
	if snapshot != "" {
		req.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}}
	}
	v, err := d.CreateVolume(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "mnt", name)
	if _, err := d.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: v.GetVolume().GetVolumeId(),
		StagingTargetPath: path, VolumeCapability: capability(fsType)}); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *driver) cut(name, volume string, knobs map[string]string) (*csi.Snapshot, error) {
	resp, err := d.CreateSnapshot(context.Background(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: volume, Parameters: knobs})
	return resp.GetSnapshot(), err
}

func writeSynced(t *testing.T, file string, size int) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	_, err = f.Write(data)
	dir, openErr := os.Open(filepath.Dir(file))
	if err := errors.Join(err, f.Sync(), f.Close(), openErr, dir.Sync(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, file string, size int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || len(data) != size {
		t.Fatalf("%s: %d bytes, %v; want %d", file, len(data), err, size)
	}
	for i := range data {
		if data[i] != byte(i%251) {
			t.Fatalf("%s: byte %d is %d", file, i, data[i])
		}
	}
}

const fifreeze = 0xC0045877

// TestCutHoldsWhatWasSynced cuts a mounted volume right after an fsync, unfrozen
// and frozen, and mounts the copies, one of them larger.
func TestCutHoldsWhatWasSynced(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			d := connect(t)
			const small, size = 320 << 20, 5 << 20
			source := d.mount(t, "source", fsType, "", small)
			for i, frozen := range []bool{false, true} {
				file := fmt.Sprintf("file-%d", i)
				writeSynced(t, filepath.Join(source, file), size)
				if frozen {
					thaw := time.AfterFunc(20*time.Second, func() { _, _ = mounts.ThawUnder(d.dir) })
					defer thaw.Stop()
					freeze(t, source)
				}
				name := fmt.Sprintf("cut-%d", i)
				s, err := d.cut(name, "source", nil)
				if frozen {
					// An error says that the freeze did not hold until here.
					if err := mounts.Thaw(source); err != nil {
						t.Fatal(err)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				writeSynced(t, filepath.Join(source, file), 1) // must not reach the copy
				copied := d.mount(t, "copy-"+name, fsType, s.GetSnapshotId(), small+int64(i)*small)
				checkFile(t, filepath.Join(copied, file), size)
				var st unix.Statfs_t
				if err := unix.Statfs(copied, &st); err != nil {
					t.Fatal(err)
				}
				if grown := int64(st.Blocks)*st.Bsize > small; grown != (i == 1) {
					t.Errorf("%s: the file system has %d bytes", name, int64(st.Blocks)*st.Bsize)
				}
			}
		})
	}
}

func freeze(t *testing.T, path string) {
	t.Helper()
	// Never anything but a volume of this test: the machine's own file system
	// would stop the machine.
	if m, ok, err := mounts.At(path); err != nil || !ok || filepath.Dir(m.Source) != "/dev" || m.Source[:9] != "/dev/loop" {
		t.Fatalf("%s is not on a loop device: %+v, %v", path, m, err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fifreeze, 0); errno != 0 {
		t.Fatal(errno)
	}
}

func TestKnobs(t *testing.T) {
	d := connect(t)
	d.mount(t, "v", "ext4", "", 64<<20)
	took := func(name string, knobs map[string]string) (time.Duration, *csi.Snapshot, error) {
		start := time.Now()
		s, err := d.cut(name, "v", knobs)
		return time.Since(start), s, err
	}
	if wait, s, err := took("late", map[string]string{"cutLatency": "300ms"}); err != nil || wait < 300*time.Millisecond {
		t.Errorf("cutLatency: %s, %v", wait, err)
	} else if cut := s.GetCreationTime().AsTime(); time.Since(cut) > wait-250*time.Millisecond {
		t.Errorf("cutLatency: the cut is %s old, so it came first", time.Since(cut))
	}
	if wait, s, err := took("ack", map[string]string{"ackLatency": "300ms"}); err != nil || wait < 300*time.Millisecond {
		t.Errorf("ackLatency: %s, %v", wait, err)
	} else if time.Since(s.GetCreationTime().AsTime()) < 250*time.Millisecond {
		t.Error("ackLatency: the cut came last")
	}
	_, s, err := took("unready", map[string]string{"readyLatency": "500ms"})
	if err != nil || s.GetReadyToUse() {
		t.Errorf("readyLatency: %v, %v", s, err)
	}
	time.Sleep(time.Until(s.GetCreationTime().AsTime().Add(550 * time.Millisecond)))
	list, err := d.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: s.GetSnapshotId()})
	if err != nil || len(list.GetEntries()) != 1 || !list.GetEntries()[0].GetSnapshot().GetReadyToUse() {
		t.Errorf("readyLatency: later %v, %v", list, err)
	}
	fail := map[string]string{"failCode": "ResourceExhausted", "failTimes": "2"}
	for i, want := range []codes.Code{codes.ResourceExhausted, codes.ResourceExhausted, codes.OK} {
		if _, _, err := took("fail", fail); status.Code(err) != want {
			t.Errorf("failTimes: call %d: %v, want %s", i, err, want)
		}
	}
	if wait, _, err := took("hang", map[string]string{"hang": "300ms"}); status.Code(err) != codes.DeadlineExceeded || wait < 300*time.Millisecond {
		t.Errorf("hang: %s, %v", wait, err)
	}
	if _, _, err := took("typo", map[string]string{"hnag": "1s"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an unknown knob: %v", err)
	}
}

// TestRetryFindsTheRunningCut gives up a call and calls again: one cut, at the time
// the first call set going.
func TestRetryFindsTheRunningCut(t *testing.T) {
	d := connect(t)
	d.mount(t, "v", "ext4", "", 64<<20)
	knobs := map[string]string{"hang": "500ms", "hangThen": "cut", "ackLatency": "200ms"}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req := &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "v", Parameters: knobs}
	if _, err := d.CreateSnapshot(ctx, req); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("%v", err)
	}
	s, err := d.cut("s", "v", knobs)
	if err != nil {
		t.Fatal(err)
	}
	if at := s.GetCreationTime().AsTime(); at.Sub(start) < 500*time.Millisecond || at.Sub(start) > 900*time.Millisecond {
		t.Errorf("cut %s after the first call", at.Sub(start))
	}
}
