package localpath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func request(change func(*controller.ProvisionOptions)) controller.ProvisionOptions {
	policy := corev1.PersistentVolumeReclaimDelete
	o := controller.ProvisionOptions{
		StorageClass: &storagev1.StorageClass{ReclaimPolicy: &policy}, PVName: "pvc-1", SelectedNodeName: "n",
		PVC: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "cht", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func TestAVolumeIsADirectoryAndGoesWithItsContent(t *testing.T) {
	p := &Provisioner{Dir: t.TempDir(), Node: "n"}
	v, state, err := p.Provision(t.Context(), request(nil))
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatalf("%s, %v", state, err)
	}
	dir := filepath.Join(p.Dir, "pvc-1_cht_data")
	if got := v.Spec.HostPath.Path; got != dir {
		t.Errorf("path %s, want %s", got, dir)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("directory %v, %v: a pod of any user must be able to write", info, err)
	}
	term := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	if term.Key != corev1.LabelHostname || len(term.Values) != 1 || term.Values[0] != "n" {
		t.Errorf("affinity %v does not bind it to its node", term)
	}
	if got := v.Spec.Capacity[corev1.ResourceStorage]; got.String() != "1Gi" {
		t.Errorf("capacity %s", got.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a controller killed in between deletes again
		if err := p.Delete(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestWhatADirectoryCannotBeIsRefused(t *testing.T) {
	for want, change := range map[string]func(*controller.ProvisionOptions){
		"data source": func(o *controller.ProvisionOptions) { o.PVC.Spec.DataSource = &corev1.TypedLocalObjectReference{} },
		"selector":    func(o *controller.ProvisionOptions) { o.PVC.Spec.Selector = &metav1.LabelSelector{} },
		"one node": func(o *controller.ProvisionOptions) {
			o.PVC.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		},
		"only n has": func(o *controller.ProvisionOptions) { o.SelectedNodeName = "other" },
	} {
		p := &Provisioner{Dir: t.TempDir(), Node: "n"}
		if _, _, err := p.Provision(t.Context(), request(change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a refusal with %q, got %v", want, err)
		}
		if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", want, left, err)
		}
	}
}

func TestNothingElseIsRemoved(t *testing.T) {
	base := t.TempDir()
	p := &Provisioner{Dir: filepath.Join(base, "volumes"), Node: "n"}
	precious := filepath.Join(base, "precious")
	if err := os.MkdirAll(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{precious, p.Dir, base, p.Dir + "/../precious", p.Dir + "/a/b", ""} {
		v := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: path}}}}
		if err := p.Delete(t.Context(), v); err == nil {
			t.Errorf("%q was removed", path)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if err := p.Delete(t.Context(), &corev1.PersistentVolume{}); err == nil {
		t.Error("a volume without a path was removed")
	}
}
