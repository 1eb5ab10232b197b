package command

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/paged"
)

// described is a candidate with its description.
func described(name string, what ...string) string {
	what = slices.DeleteFunc(what, func(s string) bool { return s == "" })
	return name + "\t" + strings.Join(what, ", ")
}

// names lists a kind page by page. What was listed until the time was up is given.
func names[L client.ObjectList](ctx context.Context, c client.Client, empty L, each func(L, func(string)), opts ...client.ListOption) (all []string) {
	_ = paged.Each(ctx, c, empty, func(page L) { each(page, func(s string) { all = append(all, s) }) }, opts...)
	return all
}

func (e *Env) backups(ctx context.Context, c client.Client, namespace string, wanted func(*api.Backup) bool) []string {
	return names(ctx, c, &api.BackupList{}, func(l *api.BackupList, add func(string)) {
		for i := range l.Items {
			b := &l.Items[i]
			if !wanted(b) {
				continue
			}
			cut := ""
			if b.Status.CutTime != nil {
				cut = "cut " + duration.HumanDuration(e.Now().Sub(b.Status.CutTime.Time)) + " ago"
			}
			add(described(b.Name, string(orAccepted(b.Status.Phase)), cut))
		}
	}, client.InNamespace(namespace))
}

// backupNames are those of Backups, and of records whose Backup is gone.
func (e *Env) backupNames(ctx context.Context, c client.Client, namespace string) []string {
	all := e.backups(ctx, c, namespace, func(*api.Backup) bool { return true })
	heads, err := e.kept(ctx, c, namespace)
	if err != nil {
		return all
	}
	for _, h := range heads {
		if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, h.Name+"\t") }) {
			all = append(all, described(h.Name, "record only"))
		}
	}
	return all
}

func (e *Env) goodBackups(ctx context.Context, c client.Client, namespace string) []string {
	return e.backups(ctx, c, namespace, (*api.Backup).Good)
}

func restores(ctx context.Context, c client.Client, namespace string, wanted func(*api.Restore) bool) []string {
	return names(ctx, c, &api.RestoreList{}, func(l *api.RestoreList, add func(string)) {
		for i := range l.Items {
			if r := &l.Items[i]; wanted(r) {
				add(described(r.Name, string(orAccepted(r.Status.Phase)), "of "+r.Spec.Source.Name))
			}
		}
	}, client.InNamespace(namespace))
}

func (e *Env) restoreNames(ctx context.Context, c client.Client, namespace string) []string {
	return restores(ctx, c, namespace, func(*api.Restore) bool { return true })
}

func underWay(ctx context.Context, c client.Client, namespace string) []string {
	return restores(ctx, c, namespace, func(r *api.Restore) bool { return abortable(r) == nil })
}

func scheduleNames(ctx context.Context, c client.Client, namespace string) []string {
	return names(ctx, c, &api.BackupScheduleList{}, func(l *api.BackupScheduleList, add func(string)) {
		for i := range l.Items {
			s := &l.Items[i]
			add(described(s.Name, string(s.Spec.Schedule), cmp.Or(s.Spec.TimeZone, "Etc/UTC"), map[bool]string{true: "suspended"}[s.Spec.Suspend]))
		}
	}, client.InNamespace(namespace))
}

// namespaceNames are those of the cluster, or the user's own where he may list none.
func (e *Env) namespaceNames(ctx context.Context, c client.Client, own string) []string {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	all := names(ctx, c, &list, func(l *metav1.PartialObjectMetadataList, add func(string)) {
		for _, n := range l.Items {
			add(n.Name)
		}
	})
	if len(all) == 0 && own != "" {
		return []string{own}
	}
	return all
}

// sources completes --from: NAMESPACE/, then NAMESPACE/BACKUP; or what is in a catalog.
func (e *Env) sources(ctx context.Context, cmd *cobra.Command, args []string, typed string) (all []string) {
	if offsite.IsURL(typed) {
		return e.inCatalog(ctx, cmd, args, typed)
	}
	c, own, err := e.open()
	if err != nil {
		return nil
	}
	if namespace, _, is := strings.Cut(typed, "/"); is {
		for _, name := range e.backupNames(ctx, c, namespace) {
			all = append(all, namespace+"/"+name)
		}
		return all
	}
	for _, n := range e.namespaceNames(ctx, c, own) {
		all = append(all, n+"/")
	}
	return all
}

// databases are those of the backup in --from, as its record has them.
func (e *Env) databases(ctx context.Context, cmd *cobra.Command, _ []string, _ string) (all []string) {
	from, err := cmd.Flags().GetString("from")
	namespace, name, is := strings.Cut(from, "/")
	if err != nil || !is || offsite.IsURL(from) {
		return nil
	}
	c, _, err := e.open()
	if err != nil {
		return nil
	}
	heads, err := e.kept(ctx, c, namespace)
	if err != nil {
		return nil
	}
	for _, h := range heads {
		if h.Name != name {
			continue
		}
		record, err := e.records(c).Get(ctx, h.Secret)
		if err != nil {
			continue
		}
		for database := range record.Before.ShardMaps {
			all = append(all, database)
		}
	}
	return all
}

func storageClasses(ctx context.Context, c client.Client, _ string) []string {
	return names(ctx, c, &storagev1.StorageClassList{}, func(l *storagev1.StorageClassList, add func(string)) {
		for _, s := range l.Items {
			add(described(s.Name, s.Provisioner))
		}
	})
}

func snapshotClasses(ctx context.Context, c client.Client, _ string) []string {
	return names(ctx, c, &snapv1.VolumeSnapshotClassList{}, func(l *snapv1.VolumeSnapshotClassList, add func(string)) {
		for _, s := range l.Items {
			add(described(s.Name, s.Driver))
		}
	})
}

func ingressClasses(ctx context.Context, c client.Client, _ string) []string {
	return names(ctx, c, &networkingv1.IngressClassList{}, func(l *networkingv1.IngressClassList, add func(string)) {
		for _, s := range l.Items {
			add(described(s.Name, s.Spec.Controller))
		}
	})
}

func zones(ctx context.Context, c client.Client, _ string) []string {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	return names(ctx, c, &list, func(l *metav1.PartialObjectMetadataList, add func(string)) {
		for _, n := range l.Items {
			if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" {
				add(zone)
			}
		}
	})
}

// mostKeys of a catalog are read for a completion.
const mostKeys = 2000

// inCatalog completes URL/NAMESPACE/NAME by the names of the catalog's objects; nothing
// of them is read. Without a URL, those of the catalog in CHT_CATALOG; the controller is
// not asked.
func (e *Env) inCatalog(ctx context.Context, cmd *cobra.Command, _ []string, typed string) (all []string) {
	base := ""
	if flag := cmd.Flags().Lookup("catalog"); flag != nil {
		base = cmp.Or(flag.Value.String(), os.Getenv(catalogVariable))
	}
	// What is typed up to its last slash names a place; the rest is being typed.
	at := strings.LastIndex(typed, "/") + 1
	place, shown := typed[:at], typed[:at]
	if !offsite.IsURL(typed) {
		if base == "" {
			return nil
		}
		place = strings.TrimSuffix(base, "/") + "/" + place
	}
	b, scope, err := bucket.Find(ctx, strings.TrimSuffix(place, "/"))
	if err != nil {
		return nil
	}
	defer func() { _ = b.Close() }()
	if scope.Name != "" {
		return nil
	}
	seen, n := map[string]bool{}, 0
	_, _ = b.Heads(ctx, scope.Namespace, func(h bucket.Head) error {
		word := h.Namespace + "/"
		if scope.Namespace != "" {
			word = h.Name + "\tcut " + duration.HumanDuration(e.Now().Sub(h.CutTime)) + " ago"
		}
		if !seen[word] {
			seen[word], all = true, append(all, shown+word)
		}
		if n++; n == mostKeys {
			return context.Canceled // these are enough
		}
		return nil
	})
	return all
}
