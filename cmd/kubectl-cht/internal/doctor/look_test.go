package doctor

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Every list is asked for in pages, and the owners after all that they may own.
func TestLookTurnsThePages(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var objects []client.Object
	for i := range 3 {
		b, s, c, r := backupOf("b"), snapshotOf(living), contentOf(living), restoreOf("r", "r", api.PhaseCompleted)
		part := partOf(living, i+1, 0)
		b.Name, s.Name, c.Name, r.Name = fmt.Sprint("b-", i), fmt.Sprint("s-", i), fmt.Sprint("c-", i), fmt.Sprint("r-", i)
		objects = append(objects, &b, &s, &c, &r)
		secret := &metav1.PartialObjectMetadata{ObjectMeta: part.ObjectMeta}
		secret.SetGroupVersionKind(clientgoscheme.Scheme.PrioritizedVersionsForGroup("")[0].WithKind("Secret"))
		objects = append(objects, secret)
	}
	var order []string
	hooks := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		var o client.ListOptions
		o.ApplyOptions(opts)
		if o.Limit == 0 {
			t.Errorf("%T is listed whole", list)
		}
		order = append(order, fmt.Sprintf("%T", list))
		if err := c.List(ctx, list, opts...); err != nil {
			return err
		}
		items, err := meta.ExtractList(list)
		if err != nil || len(items) == 0 {
			return err
		}
		at, _ := strconv.Atoi(o.Continue)
		if at+1 < len(items) {
			list.SetContinue(strconv.Itoa(at + 1))
		}
		return meta.SetList(list, items[at:at+1])
	}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(hooks).Build()
	seen, err := Look(t.Context(), c, "", home)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.Backups) != 3 || len(seen.Restores) != 3 || len(seen.Snapshots) != 3 || len(seen.Contents) != 3 || len(seen.Records) != 3 || len(seen.Unseen) > 0 {
		t.Errorf("seen: %d backups, %d restores, %d snapshots, %d contents, %d records, unseen %v", len(seen.Backups), len(seen.Restores), len(seen.Snapshots), len(seen.Contents), len(seen.Records), seen.Unseen)
	}
	for i, what := range order {
		if what == "*v1alpha1.BackupList" || what == "*v1alpha1.RestoreList" {
			for _, later := range order[i:] {
				if later != "*v1alpha1.BackupList" && later != "*v1alpha1.RestoreList" {
					t.Errorf("%s is listed after an owner", later)
				}
			}
			break
		}
	}
}
