package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	chtdeploy "github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/hollow"
	"github.com/medic/cht-backup/snapshot/await"
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
	var pods corev1.PodList
	return await.List(ctx, w.client, &pods, func() (string, error) {
		ready := 0
		for i := range pods.Items {
			if pods.Items[i].Status.PodIP != "" {
				ready++
			}
		}
		if ready < w.o.instances {
			return fmt.Sprintf("%d of %d pods of CouchDB to run", w.o.instances-ready, w.o.instances), nil
		}
		return "", nil
	}, client.MatchingFields{"spec.nodeName": nodeName})
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
	text, err := os.ReadFile(filepath.Join(w.c.ChartFolder("cht-backup"), "files/role.yaml"))
	if err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.Unmarshal(text, role); err != nil {
		return fmt.Errorf("read the chart's role: %w", err)
	}
	role.ObjectMeta = metav1.ObjectMeta{Name: home}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "controller"}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: home}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: home, Name: account.Name}}}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}, role, binding, account} {
		if err := w.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	hours := int64(6 * 3600)
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours}}
	if err := w.client.SubResource("token").Create(ctx, account, token); err != nil {
		return fmt.Errorf("get a token for the controllers: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["plane"] = &clientcmdapi.Cluster{Server: w.c.Config.Host, CertificateAuthorityData: w.c.Config.CAData}
	config.AuthInfos["controller"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["load"] = &clientcmdapi.Context{Cluster: "plane", AuthInfo: "controller"}
	config.CurrentContext = "load"
	w.kubeconfig = filepath.Join(w.dir, "kubeconfig")
	return clientcmd.WriteToFile(*config, w.kubeconfig)
}
