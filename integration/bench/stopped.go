package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/snapshot/await"
	snapcht "github.com/medic/cht-backup/snapshot/cht"
)

// stopped is the alternative where nothing can make snapshots: stop CouchDB, copy its
// directories, start it again. It is made as quick as it can be: the copy is made on
// the node, to its own disk, without compression and without waiting for the disk.
func (s *stage) stopped(ctx context.Context, one *sample) (err error) {
	if !s.c.Local {
		return errors.New("the volumes' directories are on this machine only with the testbed; leave local out of --drivers")
	}
	one.began = time.Now()
	defer func() { one.done = time.Now() }()
	inventory, err := snapcht.Load(ctx, s.c.Client, s.namespace)
	if err != nil {
		return err
	}
	instance, err := snapcht.Discover(inventory)
	if err != nil {
		return err
	}
	dirs, err := s.directories(ctx, instance.Nodes)
	if err != nil {
		return err
	}
	into, err := os.MkdirTemp(filepath.Dir(filepath.Dir(dirs[0])), "bench-stop-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(into)) }()
	one.start = time.Now()
	if err := s.scale(ctx, 0); err != nil {
		return err
	}
	// Whatever becomes of the copy: the CHT must be there for the next sample.
	defer func() {
		up := context.WithoutCancel(ctx)
		if scaled := s.scale(up, 1); scaled != nil {
			err = errors.Join(err, scaled)
			return
		}
		up, cancel := context.WithTimeoutCause(up, deployWithin, errors.New("it was not up again after "+deployWithin.String()))
		defer cancel()
		err = errors.Join(err, cht.WaitReady(up, s.c.Client, s.deployed, s.c.Transport()))
		one.released = time.Now()
	}()
	if err := s.noCouch(ctx); err != nil {
		return err
	}
	one.quiesced = time.Now()
	for _, dir := range dirs {
		if out, err := exec.CommandContext(ctx, "cp", "-a", dir, into).CombinedOutput(); err != nil {
			return fmt.Errorf("cp -a %s: %w: %s", dir, err, out)
		}
	}
	one.cut = time.Now()
	return nil
}

// directories are those of the nodes' volumes on this machine.
func (s *stage) directories(ctx context.Context, nodes []snapcht.Node) (dirs []string, err error) {
	for _, n := range nodes {
		var v corev1.PersistentVolume
		if err := s.c.Client.Get(ctx, client.ObjectKey{Name: n.Claim.Volume}, &v); err != nil {
			return nil, fmt.Errorf("read volume %s of claim %s: %w", n.Claim.Volume, n.Claim.Name, err)
		}
		if v.Spec.HostPath == nil {
			return nil, fmt.Errorf("volume %s of claim %s is no directory of the node: --file-class must name a class that makes such", v.Name, n.Claim.Name)
		}
		dirs = append(dirs, v.Spec.HostPath.Path)
	}
	return dirs, nil
}

// scale gives the deployments of CouchDB so many pods.
func (s *stage) scale(ctx context.Context, replicas int32) error {
	for _, name := range s.deployed.Services() {
		var all appsv1.DeploymentList
		if err := s.c.Client.List(ctx, &all, client.InNamespace(s.namespace), client.MatchingLabels{snapcht.ServiceLabel: name}); err != nil {
			return fmt.Errorf("list the deployments of %s: %w", name, err)
		}
		for i := range all.Items {
			d := &all.Items[i]
			before := d.DeepCopy()
			d.Spec.Replicas = &replicas
			if err := s.c.Client.Patch(ctx, d, client.MergeFrom(before)); err != nil {
				return fmt.Errorf("scale %s/%s to %d: %w", d.Namespace, d.Name, replicas, err)
			}
		}
	}
	return nil
}

// noCouch waits until no pod of CouchDB is left.
func (s *stage) noCouch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, goneWithin, fmt.Errorf("they did not go in %s", goneWithin))
	defer cancel()
	couch := map[string]bool{}
	for _, name := range s.deployed.Services() {
		couch[name] = true
	}
	var pods corev1.PodList
	return await.List(ctx, s.c.Client, &pods, func() (string, error) {
		left := 0
		for _, p := range pods.Items {
			if couch[p.Labels[snapcht.ServiceLabel]] {
				left++
			}
		}
		return none("pods of CouchDB", left)
	}, client.InNamespace(s.namespace))
}
