package chart

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
)

// TestSameAsTheirs holds what the chart makes to what the CHT's own charts make: all of
// theirs must be there under the same name, or an upgrade of their release would make a
// second instance beside the first, or be refused for a selector that cannot change.
func TestSameAsTheirs(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		for _, nouveau := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d nodes, nouveau %v", nodes, nouveau), func(t *testing.T) {
				o := cht.Defaults("clinic", cht.Images{CouchDB: "couchdb:1", HAProxy: "haproxy:1", Nouveau: "nouveau:1", Healthcheck: "healthcheck:1",
					API: "api:1", Sentinel: "sentinel:1", UpgradeService: "upgrade:1", Tools: "tools:1"})
				o.Nodes, o.Nouveau, o.StorageClass, o.DataSubPath = nodes, nouveau, "fast", "storage/%d"
				r := renderCHT(t, fmt.Sprintf(`
images: {couchdb: "couchdb:1", haproxy: "haproxy:1", nouveau: "nouveau:1", healthcheck: "healthcheck:1", api: "api:1", sentinel: "sentinel:1", upgradeService: "upgrade:1"}
couchdb: {nodes: %d, storage: {size: 1Gi, className: fast}, dataSubPath: "storage/%%d"}
nouveau: {enabled: %v}
credentials: {user: %q, password: %q, secret: %q, uuid: %q}
`, nodes, nouveau, o.User, o.Password, o.Secret, o.UUID))
				theirs, err := cht.Objects(o)
				if err != nil {
					t.Fatal(err)
				}
				for _, object := range theirs {
					compare(t, object, r)
				}
			})
		}
	}
}

func TestSameVolumesAsTheirs(t *testing.T) {
	o := cht.Defaults("clinic", cht.Images{CouchDB: "c", HAProxy: "h", Tools: "t"})
	o.Components = cht.Components{}
	for i := range 3 {
		o.StaticVolumes = append(o.StaticVolumes, cht.StaticVolume{Source: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: "ebs.csi.aws.com", VolumeHandle: fmt.Sprintf("vol-0123456789abcde%d", i), FSType: "ext4", VolumeAttributes: map[string]string{"partition": "0"}}}})
	}
	theirs, err := cht.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	r := renderCHT(t, `
couchdb:
  nodes: 3
  storage: {size: 1Gi}
  existingVolumes: [{ebs: {volumeId: vol-0123456789abcde0}}, {ebs: {volumeId: vol-0123456789abcde1}}, {ebs: {volumeId: vol-0123456789abcde2}}]`)
	for _, object := range theirs {
		switch object := object.(type) {
		case *corev1.PersistentVolume:
			mine := typed(t, r, object)
			mine.Spec.VolumeMode = nil // the API server's default, written out
			if !reflect.DeepEqual(mine.Spec.CSI, object.Spec.CSI) || mine.Spec.PersistentVolumeReclaimPolicy != object.Spec.PersistentVolumeReclaimPolicy || !mine.Spec.Capacity.Storage().Equal(*object.Spec.Capacity.Storage()) {
				t.Errorf("volume %s is %+v, theirs %+v", object.Name, mine.Spec, object.Spec)
			}
		case *corev1.PersistentVolumeClaim:
			if mine := typed(t, r, object); mine.Spec.VolumeName != object.Spec.VolumeName || mine.Spec.StorageClassName == nil || *mine.Spec.StorageClassName != "" {
				t.Errorf("claim %s is %+v, theirs %+v", object.Name, mine.Spec, object.Spec)
			}
		}
	}
}

// typed finds the chart's object of the kind and name of theirs.
func typed[T client.Object](t *testing.T, r *Rendered, theirs T) T {
	t.Helper()
	kind := reflect.TypeOf(theirs).Elem().Name()
	mine := reflect.New(reflect.TypeOf(theirs).Elem()).Interface().(T)
	o := r.Find(kind, theirs.GetName())
	if o == nil {
		t.Fatalf("no %s %s", kind, theirs.GetName())
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, mine); err != nil {
		t.Fatal(err)
	}
	return mine
}

func compare(t *testing.T, theirs client.Object, r *Rendered) {
	t.Helper()
	switch theirs := theirs.(type) {
	case *appsv1.Deployment:
		mine := typed(t, r, theirs)
		same(t, theirs, "selector", mine.Spec.Selector, theirs.Spec.Selector)
		same(t, theirs, "strategy", mine.Spec.Strategy, theirs.Spec.Strategy)
		holds(t, theirs, "pod's label", mine.Spec.Template.Labels, theirs.Spec.Template.Labels)
		comparePods(t, theirs, mine.Spec.Template.Spec, theirs.Spec.Template.Spec)
	case *corev1.Service:
		mine := typed(t, r, theirs)
		same(t, theirs, "selector", mine.Spec.Selector, theirs.Spec.Selector)
		for i := range theirs.Spec.Ports { // the name of a single port is free
			if theirs.Spec.Ports[i].Name == "" {
				mine.Spec.Ports[i].Name = ""
			}
		}
		same(t, theirs, "ports", mine.Spec.Ports, theirs.Spec.Ports)
	case *corev1.Secret:
		compareSecrets(t, typed(t, r, theirs), theirs)
	case *corev1.ConfigMap:
		same(t, theirs, "data", typed(t, r, theirs).Data, theirs.Data)
	case *corev1.PersistentVolumeClaim:
		same(t, theirs, "spec", typed(t, r, theirs).Spec, theirs.Spec)
	case *rbacv1.Role:
		same(t, theirs, "rules", typed(t, r, theirs).Rules, theirs.Rules)
	case *rbacv1.RoleBinding:
		mine := typed(t, r, theirs)
		same(t, theirs, "roleRef", mine.RoleRef, theirs.RoleRef)
		same(t, theirs, "subjects", mine.Subjects, theirs.Subjects)
	case *networkingv1.Ingress:
		same(t, theirs, "rules", typed(t, r, theirs).Spec.Rules, theirs.Spec.Rules)
	case *corev1.ServiceAccount:
		typed(t, r, theirs)
	default:
		t.Errorf("%T is compared by nothing", theirs)
	}
	o := r.Find(reflect.TypeOf(theirs).Elem().Name(), theirs.GetName())
	if o == nil {
		return
	}
	holds(t, theirs, "label", o.GetLabels(), theirs.GetLabels())
	if o.GetNamespace() != theirs.GetNamespace() {
		t.Errorf("%T %s is in namespace %q", theirs, theirs.GetName(), o.GetNamespace())
	}
}

func compareSecrets(t *testing.T, mine, theirs *corev1.Secret) {
	t.Helper()
	for key, value := range theirs.StringData {
		got := string(mine.Data[key])
		if key == "COUCH_URL" { // theirs has a plus sign for a blank, which few clients read
			value = strings.ReplaceAll(value, "+", "%20")
			u, err := url.Parse(got)
			if err != nil {
				t.Fatal(err)
			}
			if password, _ := u.User.Password(); password != theirs.StringData["COUCHDB_PASSWORD"] {
				t.Errorf("a client reads the password %q from COUCH_URL %q", password, got)
			}
		}
		if got != value {
			t.Errorf("secret has %s %q, theirs %q", key, got, value)
		}
	}
}

func comparePods(t *testing.T, of client.Object, mine, theirs corev1.PodSpec) {
	t.Helper()
	same(t, of, "service account", mine.ServiceAccountName, theirs.ServiceAccountName)
	same(t, of, "hostname", mine.Hostname, theirs.Hostname)
	same(t, of, "volumes", mine.Volumes, theirs.Volumes)
	if len(mine.Containers) != len(theirs.Containers) {
		t.Fatalf("%s has %d containers, theirs %d", of.GetName(), len(mine.Containers), len(theirs.Containers))
	}
	for i, c := range theirs.Containers {
		m := mine.Containers[i]
		same(t, of, "container's name", m.Name, c.Name)
		same(t, of, "image", m.Image, c.Image)
		same(t, of, "mounts", m.VolumeMounts, c.VolumeMounts)
		same(t, of, "container's ports", ports(m), ports(c))
		for _, v := range c.Env {
			at := slices.IndexFunc(m.Env, func(e corev1.EnvVar) bool { return e.Name == v.Name })
			switch {
			case at < 0:
				t.Errorf("%s: no environment %s", of.GetName(), v.Name)
			case v.Name == "CHT_NAMESPACE": // by the pod's own field, so that a copy elsewhere has its own
				same(t, of, v.Name, m.Env[at].ValueFrom.FieldRef.FieldPath, "metadata.namespace")
			default:
				same(t, of, "environment "+v.Name, m.Env[at], v)
			}
		}
	}
}

func ports(c corev1.Container) []int32 {
	var all []int32
	for _, p := range c.Ports {
		all = append(all, p.ContainerPort)
	}
	return all
}

func same(t *testing.T, of client.Object, what string, mine, theirs any) {
	t.Helper()
	if !reflect.DeepEqual(mine, theirs) {
		t.Errorf("%T %s: %s is %+v, theirs %+v", of, of.GetName(), what, mine, theirs)
	}
}

func holds(t *testing.T, of client.Object, what string, mine, theirs map[string]string) {
	t.Helper()
	for k := range maps.Keys(theirs) {
		if mine[k] != theirs[k] {
			t.Errorf("%T %s: %s %s is %q, theirs %q", of, of.GetName(), what, k, mine[k], theirs[k])
		}
	}
}
