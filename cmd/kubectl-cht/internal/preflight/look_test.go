package preflight

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func cluster(t *testing.T, list func(client.ObjectList) error, denied string, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if list != nil {
				if err := list(l); err != nil {
					return err
				}
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if review, ok := o.(*authorizationv1.SelfSubjectAccessReview); ok {
				a := review.Spec.ResourceAttributes
				review.Status.Allowed = a.Verb+" "+a.Resource != denied
				return nil
			}
			return c.Create(ctx, o, opts...)
		}}).Build()
}

func TestLook(t *testing.T) {
	one := resource.MustParse("1Gi")
	c := cluster(t, nil, "create secrets",
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "sys", Name: "cht-backup", Labels: map[string]string{productLabel: productName}},
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "i:1"}}}}}, Status: appsv1.DeploymentStatus{ReadyReplicas: 1}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "sys", Name: "other"}},
		&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "d"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "s", Annotations: map[string]string{defaultClass: "true"}}, Provisioner: "d",
			AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "topology.d/zone", Values: []string{"z"}}}}}},
		&storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}, StorageClassName: "s", Capacity: &one},
		&storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "unknown"}, StorageClassName: "s"},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}})
	seen, err := Look(t.Context(), c, "sys", "medic")
	if err != nil || !seen.Ours || !seen.Snapshots || seen.Missing || len(seen.Nodes) != 1 || len(seen.Unseen) != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
	if len(seen.Controllers) != 1 || seen.Controllers[0] != (Controller{"cht-backup", "i:1", 1}) || !slices.Equal(seen.Drivers, []string{"d"}) ||
		len(seen.Classes) != 1 || !seen.Classes[0].Default || !slices.Equal(seen.Classes[0].Zones, []string{"z"}) || len(seen.Capacities) != 1 || seen.Capacities[0].Left != gi {
		t.Errorf("%+v", seen)
	}
	if len(seen.Denied) != 1 || seen.Denied[0].Verb != "create" || seen.Denied[0].Namespace != "sys" {
		t.Errorf("denied %+v", seen.Denied)
	}
	if seen, err = Look(t.Context(), c, "sys", "elsewhere"); err != nil || !seen.Missing {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestLookWithoutRightsOrKinds(t *testing.T) {
	c := cluster(t, func(l client.ObjectList) error {
		switch l.(type) {
		case *api.RestoreList, *snapv1.VolumeSnapshotContentList:
			return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "x"}}
		default:
			return apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", nil)
		}
	}, "")
	seen, err := Look(t.Context(), c, "sys", "medic")
	if err != nil || seen.Ours || seen.Snapshots || !slices.Equal(seen.Unseen, []string{SeeControllers, SeeDrivers, SeeClasses, SeeNodes, SeeCapacities}) {
		t.Errorf("%+v, %v", seen, err)
	}
	c = cluster(t, func(client.ObjectList) error { return errors.New("connection refused") }, "")
	if _, err := Look(t.Context(), c, "sys", "medic"); err == nil || !strings.Contains(err.Error(), "kinds of cht-backup") {
		t.Errorf("a cluster that does not answer: %v", err)
	}
}
