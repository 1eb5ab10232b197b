package main

import (
	"context"
	"errors"
	"fmt"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/harness"
)

const isDefault = "snapshot.storage.kubernetes.io/is-default-class"

// makeClasses gives the snapshot class for each setting of the driver (nil is the
// cluster's default), and a function that removes what it made.
func makeClasses(ctx context.Context, c *harness.Cluster, o options) (classes map[string]*string, remove func(context.Context) error, err error) {
	classes, remove = map[string]*string{}, func(context.Context) error { return nil }
	for _, driver := range o.drivers {
		if driver == driverLocal {
			continue
		}
		if driver == driverPlain {
			classes[driver] = nil
			if o.class != "" {
				classes[driver] = &o.class
			}
			continue
		}
		class, err := cloudClass(ctx, c, o)
		if err != nil {
			return nil, remove, err
		}
		classes[driver] = &class.Name
		remove = func(ctx context.Context) error {
			if err := c.Client.Delete(ctx, class); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("delete snapshot class %s: %w", class.Name, err)
			}
			return nil
		}
	}
	return classes, remove, nil
}

// cloudClass makes a class of the testbed's driver that is as slow as a cloud.
func cloudClass(ctx context.Context, c *harness.Cluster, o options) (*snapv1.VolumeSnapshotClass, error) {
	if !c.Local {
		return nil, errors.New("the delays of a cloud are set on the testbed's driver; with E2E_KUBECONFIG give --drivers plain")
	}
	var all snapv1.VolumeSnapshotClassList
	if err := c.Client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("list snapshot classes: %w", err)
	}
	class := &snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "bench-" + rand.String(6)}, DeletionPolicy: snapv1.VolumeSnapshotContentDelete,
		Parameters: map[string]string{"cutLatency": o.cutLatency.String(), "readyLatency": o.readyLatency.String()}}
	for i := range all.Items {
		if all.Items[i].Annotations[isDefault] == "true" {
			class.Driver = all.Items[i].Driver
		}
	}
	if class.Driver == "" {
		return nil, errors.New("no snapshot class is the default, whose driver could be taken")
	}
	if err := c.Client.Create(ctx, class); err != nil {
		return nil, fmt.Errorf("create snapshot class %s: %w", class.Name, err)
	}
	return class, nil
}
