package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"

	chtdeploy "github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/hollow"
)

const (
	// mark is the label of all that this program makes; the next run removes what has
	// it.
	mark   = "cht-backup.test/fleet"
	prefix = "fleet-"
	home   = "fleet-home" // the controller's namespace, with its records
	class  = "fleet"
)

func instance(i int) string { return fmt.Sprintf("%s%04d", prefix, i) }

// number of an instance's namespace; 0 for another's, which no pod of ours is in.
func number(namespace string) int {
	i, _ := strconv.Atoi(strings.TrimPrefix(namespace, prefix))
	return i
}

func marked(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{mark: "true"}}
}

// makeInstances makes as many CHTs as the largest number asks for.
func (f *fleet) makeInstances(ctx context.Context) error {
	no := false
	for _, o := range []client.Object{
		// No attachment: there is nobody to attach.
		&storagev1.CSIDriver{ObjectMeta: marked(driver), Spec: storagev1.CSIDriverSpec{AttachRequired: &no}},
		&snapv1.VolumeSnapshotClass{ObjectMeta: marked(class), Driver: driver, DeletionPolicy: snapv1.VolumeSnapshotContentDelete},
	} {
		if err := f.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	n := f.o.largest()
	f.progress("making %d instances", n)
	if err := all(ctx, n, f.makeInstance); err != nil {
		return err
	}
	return hollow.Running(ctx, f.client, nodeName, n)
}

func (f *fleet) makeInstance(ctx context.Context, i int) error {
	namespace := instance(i)
	if err := f.client.Create(ctx, &corev1.Namespace{ObjectMeta: marked(namespace)}); err != nil {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	objects, err := hollow.Instance{Namespace: namespace, User: f.user, Password: f.password, Node: nodeName, Taint: nodeTaint, Driver: driver, Labels: map[string]string{mark: "true"}}.Objects()
	if err != nil {
		return err
	}
	return chtdeploy.Apply(ctx, f.client, objects)
}

func (f *fleet) pods(ctx context.Context, namespace string) (int, error) {
	var pods corev1.PodList
	err := f.client.List(ctx, &pods, client.InNamespace(namespace))
	return len(pods.Items), err
}

// forget ignores that something is gone already.
func forget(err error) error { return client.IgnoreNotFound(err) }
