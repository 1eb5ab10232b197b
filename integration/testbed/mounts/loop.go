package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/testbed/tool"
)

// Attach gives file a loop device that the kernel takes away again once nobody
// uses it: the caller mounts it and closes the device, and the unmount is all the
// cleaning up that is ever needed, after a crash too.
func Attach(file string) (*os.File, error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	defer func() { _ = backing.Close() }()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open loop control: %w", err)
	}
	defer func() { _ = control.Close() }()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:unix.LO_NAME_SIZE-1], file)
	for range 64 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("get a free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("open loop device: %w", err)
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		_ = device.Close()
		if !errors.Is(err, unix.EBUSY) { // EBUSY: another one took it first
			return nil, fmt.Errorf("attach %s: %w", file, err)
		}
	}
	return nil, fmt.Errorf("attach %s: no loop device stayed free", file)
}

// Loops returns the loop devices whose backing file is at dir or below it, and
// that file.
func Loops(dir string) (map[string]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // detached meanwhile
		}
		backing := strings.TrimSuffix(strings.TrimSpace(string(data)), " (deleted)")
		if Within(dir, backing) {
			found["/dev/"+filepath.Base(filepath.Dir(filepath.Dir(f)))] = backing
		}
	}
	return found, nil
}

// DetachUnder takes away the loop devices whose backing file is at dir or below it.
func DetachUnder(dir string) error {
	found, err := Loops(dir)
	if err != nil {
		return err
	}
	for device := range found {
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", device, err)
		}
		err = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("detach %s: %w", device, err)
		}
	}
	return nil
}

// Image makes file a sparse image of size bytes with a file system of the given
// kind made by mkfs (arguments before the file), and mounts it at dir.
func Image(file string, size int64, dir, fsType string, mkfs ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return fmt.Errorf("size image %s: %w", file, err)
	}
	if err := tool.Run(append(mkfs, file)...); err != nil {
		return err
	}
	return MountImage(file, dir, fsType)
}

// MountImage mounts the file system in an image at dir.
func MountImage(file, dir, fsType string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	device, err := Attach(file)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	if err := unix.Mount(device.Name(), dir, fsType, 0, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", file, dir, err)
	}
	return nil
}
