package cluster

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Lose takes the cluster away, etcd, certificates, images and all, as Down does, but
// for what its storage would keep in a cloud: the drivers' volumes and snapshots. The
// next Up finds those again.
func (t *Testbed) Lose(ctx context.Context) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(t.path("pool.img")); err != nil {
		return errors.Join(errors.New("there is no cluster to lose"), err)
	}
	return t.teardown(ctx, true)
}

// kept is where the storage is while there is no cluster.
func (t *Testbed) kept() string { return t.Dir + ".pool.img" }

func (t *Testbed) keepPool() error { return os.Rename(t.path("pool.img"), t.kept()) }

// takeKept takes back the storage that Lose kept, if there is any.
func (t *Testbed) takeKept() (bool, error) {
	err := os.Rename(t.kept(), t.path("pool.img"))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}
