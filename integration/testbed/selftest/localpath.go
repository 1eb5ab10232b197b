package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// volumeOnDisk is a volume of class local-path and where it lies.
type volumeOnDisk struct{ name, dir string }

// localPath proves a volume on the node's own disk: it waits for its pod, and what the
// pod writes lies in a directory of the file system that the cluster itself lives on.
func (r *run) localPath(ctx context.Context) error {
	return r.step("a claim of class local-path waits for a pod and is on the node's own disk", func() error {
		if err := r.apply(ctx, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: local, namespace: NS}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: local-path
  resources: {requests: {storage: 256Mi}}`); err != nil {
			return err
		}
		if early, err := r.localVolume(ctx); err != nil || early.name != "" {
			return errors.Join(fmt.Errorf("before it has a pod it has volume %q", early.name), err)
		}
		if err := r.pod(ctx, "local", "local"); err != nil {
			return err
		}
		if _, err := r.client.Exec(ctx, r.namespace, "local", "/probe", "write", "/data/file", "on disk"); err != nil {
			return err
		}
		volume, err := r.localVolume(ctx)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(volume.dir, "file"))
		if err != nil || string(data) != "on disk" {
			return errors.Join(fmt.Errorf("%s holds %q", volume.dir, data), err)
		}
		var own, bed syscall.Stat_t
		if err := errors.Join(syscall.Stat(volume.dir, &own), syscall.Stat(r.bed.Dir, &bed)); err != nil {
			return err
		}
		if own.Dev != bed.Dev {
			return fmt.Errorf("%s is a file system of its own", volume.dir)
		}
		r.onDisk = volume
		return nil
	})
}

// localVolume is the claim's volume, without a name as long as there is none.
func (r *run) localVolume(ctx context.Context) (volumeOnDisk, error) {
	claim, err := r.client.Get(ctx, r.in("persistentvolumeclaims")+"/local")
	name := claim.Text("spec", "volumeName")
	if err != nil || name == "" {
		return volumeOnDisk{}, err
	}
	volume, err := r.client.Get(ctx, volumes+"/"+name)
	return volumeOnDisk{name: name, dir: volume.Text("spec", "hostPath", "path")}, err
}

// localPathGone proves that a volume goes with its claim, and its directory with it.
func (r *run) localPathGone(ctx context.Context) error {
	if r.onDisk.name == "" {
		return nil // not made
	}
	return r.step("the local-path volume and its directory are removed", func() error {
		if err := r.client.WaitGone(ctx, volumes, r.onDisk.name); err != nil {
			return err
		}
		if _, err := os.Stat(r.onDisk.dir); !errors.Is(err, os.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s is still there", r.onDisk.dir), err)
		}
		return nil
	})
}

const volumes = "/api/v1/persistentvolumes"
