package main

import (
	"context"
	"fmt"
	"path/filepath"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/account"
	chtdeploy "github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/hollow"
)

// hourly is the name of every instance's schedule.
const hourly = "hourly"

func (w *world) makeInstances(ctx context.Context, couch *hollow.Couch) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	no := false
	objects := []client.Object{
		// No attachment: there is nobody to attach.
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: driver}, Spec: storagev1.CSIDriverSpec{AttachRequired: &no}},
		&snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Driver: driver, DeletionPolicy: snapv1.VolumeSnapshotContentDelete},
	}
	for _, namespace := range w.namespaces() {
		objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		its, err := hollow.Instance{Namespace: namespace, User: couch.User, Password: couch.Password, Node: nodeName, Driver: driver}.Objects()
		if err != nil {
			return err
		}
		objects = append(objects, its...)
	}
	w.progress("making %d instances", w.o.instances)
	if err := chtdeploy.Apply(ctx, w.client, objects); err != nil {
		return err
	}
	return hollow.Running(ctx, w.client, nodeName, w.o.instances)
}

// makeSchedules has every instance backed up at the full hour.
func (w *world) makeSchedules(ctx context.Context) error {
	keepHourly, keepDaily, none := int32(w.o.hourly), int32(w.o.daily), int32(0) //nolint:gosec // a flag
	for _, namespace := range w.namespaces() {
		s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: hourly}, Spec: api.BackupScheduleSpec{Schedule: "0 * * * *",
			Jitter: &metav1.Duration{}, Retention: &api.Retention{KeepHourly: &keepHourly, KeepDaily: &keepDaily, Failed: api.FailedRetention{KeepLast: &none}},
			Template: api.BackupTemplate{Spec: api.BackupSpec{Quiesce: api.QuiescePause}}}}
		if err := w.client.Create(ctx, s); err != nil {
			return fmt.Errorf("create schedule %s/%s: %w", namespace, hourly, err)
		}
	}
	return nil
}

// makeHome makes the controllers' namespace, and a kubeconfig with the rights that the
// chart gives them.
func (w *world) makeHome(ctx context.Context) error {
	create := func(ctx context.Context, o client.Object) error { return w.client.Create(ctx, o) }
	if err := create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}); err != nil {
		return fmt.Errorf("create namespace %s: %w", home, err)
	}
	token, err := account.Account{Chart: w.c.ChartFolder("cht-backup"), Name: home, Namespace: home}.Make(ctx, w.client, create)
	if err != nil {
		return err
	}
	w.kubeconfig = filepath.Join(w.dir, "kubeconfig")
	return account.Kubeconfig(w.kubeconfig, clientcmdapi.Cluster{Server: w.c.Config.Host, CertificateAuthorityData: w.c.Config.CAData}, token)
}
