package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/prepare"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

func labels(restore *api.Restore, node string) map[string]string {
	l := map[string]string{api.RestoreUIDLabel: string(restore.UID)}
	if node != "" {
		l[api.NodeLabel] = node
	}
	return l
}

// marks are the labels of what a restore makes: its own, and those that its remap
// adds to every object.
func marks(restore *api.Restore, node string) map[string]string {
	l := remap.Labels(restore.Spec.Remap, nil)
	maps.Copy(l, labels(restore, node))
	return l
}

func importName(restore *api.Restore, node string) string {
	return fmt.Sprintf("cht-restore-%.8s-%s", restore.UID, node)
}

// content points at the storage's snapshot by its handle: the source's own
// objects may be gone, and are not touched if they are there. Retain, so that
// removing this pointer never removes the backup.
func content(restore *api.Restore, node catalog.Node) *snapv1.VolumeSnapshotContent {
	name := importName(restore, node.Service)
	return &snapv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: marks(restore, node.Service)},
		Spec: snapv1.VolumeSnapshotContentSpec{
			Driver: node.Driver, DeletionPolicy: snapv1.VolumeSnapshotContentRetain,
			Source:            snapv1.VolumeSnapshotContentSource{SnapshotHandle: &node.SnapshotHandle},
			VolumeSnapshotRef: corev1.ObjectReference{Kind: "VolumeSnapshot", APIVersion: snapv1.SchemeGroupVersion.String(), Namespace: restore.Namespace, Name: name},
		},
	}
}

func snapshotOf(restore *api.Restore, node catalog.Node) *snapv1.VolumeSnapshot {
	name := importName(restore, node.Service)
	return &snapv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: restore.Namespace, Labels: marks(restore, node.Service)},
		Spec:       snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{VolumeSnapshotContentName: &name}},
	}
}

// claim is made under the source's name, so that the workloads fit. It is as
// large as the source's volume, and at least what the snapshot needs, if its size
// is not remapped.
func claim(restore *api.Restore, node catalog.Node) *corev1.PersistentVolumeClaim {
	group := snapv1.GroupName
	with := remap.Claim{StorageClass: node.StorageClass, Bytes: max(node.CapacityBytes, node.RestoreBytes)}.Remapped(restore.Spec.Remap)
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: node.Claim, Namespace: restore.Namespace, Labels: marks(restore, node.Service)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: *resource.NewQuantity(with.Bytes, resource.BinarySI)}},
			DataSource: &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: importName(restore, node.Service)},
		},
	}
	for k, v := range node.ClaimLabels {
		if _, ours := c.Labels[k]; !ours {
			c.Labels[k] = v
		}
	}
	if with.StorageClass != "" {
		c.Spec.StorageClassName = &with.StorageClass
	}
	if plan := static(restore, node.Service); plan != nil {
		// Bound to the one volume that names it. An empty class is not the default one.
		c.Spec.DataSource, c.Spec.VolumeName, c.Spec.StorageClassName = nil, staticName(restore, node.Service), &plan.StorageClass
	}
	if f := filled(restore, node.Service); f != nil {
		c.Spec.DataSource, c.Spec.StorageClassName = nil, &f.StorageClass
	}
	return c
}

// makeVolumes creates claims filled from the snapshots, prepares each volume in
// a pod, and ends when all are prepared. The pods are also what makes a claim
// bind that waits for its first consumer.
func (r *Reconciler) makeVolumes(ctx context.Context, w *work) error {
	restore, nodes := w.restore, w.volumes()
	if err := r.makeStatic(ctx, restore, nodes); err != nil {
		return err
	}
	for _, node := range nodes {
		if filled(restore, node.Service) != nil && volumeStatus(restore, node.Service).Prepared {
			continue // else it would be filled again
		}
		objects := []client.Object{claim(restore, node), w.preparePod(node, r.Image)}
		if static(restore, node.Service) == nil && filled(restore, node.Service) == nil {
			objects = append([]client.Object{content(restore, node), snapshotOf(restore, node)}, objects...)
		}
		for _, o := range objects {
			if err := r.create(ctx, restore, o); err != nil {
				return err
			}
		}
	}
	if err := r.prepared(ctx, w, nodes); err != nil {
		return err
	}
	for _, node := range nodes {
		var claim corev1.PersistentVolumeClaim
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: node.Claim}, &claim); err != nil {
			return fmt.Errorf("get claim %s/%s: %w", restore.Namespace, node.Claim, err)
		}
		if err := r.ownVolume(ctx, &claim); err != nil {
			return err
		}
		volumeStatus(restore, node.Service).Volume = claim.Spec.VolumeName
		if err := r.markVolume(ctx, restore, &claim); err != nil {
			return err
		}
	}
	return nil
}

// prepared waits until the volumes of all nodes are. It does not wait for those that
// are being filled, which may take hours: it comes back to them.
func (r *Reconciler) prepared(ctx context.Context, w *work, nodes []catalog.Node) error {
	restore := w.restore
	var pods corev1.PodList
	err := await.List(ctx, r.Client, &pods, func() (string, error) {
		var waiting []string
		filling := false
		for _, node := range nodes {
			i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels[api.NodeLabel] == node.Service })
			if i < 0 {
				if !volumeStatus(restore, node.Service).Prepared {
					waiting = append(waiting, "the prepare-volume pod of "+node.Service)
				}
				continue
			}
			text, runs, err := r.preparing(ctx, w, node, &pods.Items[i])
			if err != nil {
				return "", err
			}
			if text != "" {
				waiting = append(waiting, text)
			}
			filling = filling || runs
		}
		if filling {
			return "", later{notYet{fmt.Errorf("waiting for %s", strings.Join(waiting, ", "))}, fillTurn}
		}
		return strings.Join(waiting, ", "), nil
	}, client.InNamespace(restore.Namespace), client.MatchingLabels{api.RestoreUIDLabel: string(restore.UID), api.RoleLabel: rolePrepare})
	if err != nil && reason.Of(err) == nil && fills(restore) {
		return r.stuck(restore, err)
	}
	if err != nil {
		return err
	}
	var admins []string
	for _, pod := range pods.Items {
		admins = append(admins, prepare.ParseResult(terminationMessage(pod)).OtherAdmins...)
	}
	otherAdmins(restore, admins)
	if fills(restore) { // before the pods go: without them it would be begun anew
		return r.save(ctx, restore)
	}
	return nil
}

// preparing looks how far the pod of a node is, and gives what is waited for, "" once
// its volume is prepared.
func (r *Reconciler) preparing(ctx context.Context, w *work, node catalog.Node, pod *corev1.Pod) (waitingFor string, filling bool, err error) {
	v := volumeStatus(w.restore, node.Service)
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		v.Bound, v.Prepared = true, true
		if v.Filled != nil {
			v.Filled.Done, v.Filled.Text = v.Filled.Total, filledText
		}
		return "", false, nil
	case corev1.PodFailed:
		said := terminationMessage(*pod)
		if again, err := r.refilled(ctx, pod); again || err != nil {
			return fmt.Sprintf("pod %s, whose filler ended (%s), to be made again", pod.Name, said), true, err
		}
		failed := reason.Refuse(api.ReasonPrepareFailed, "%s: prepare-volume failed on claim %s: %s", v.Node, v.Claim, said)
		if strings.Contains(said, prepare.NoData) {
			return "", false, r.blank(ctx, w, v.Node, failed)
		}
		return "", false, failed
	}
	if v.Filled != nil {
		return r.filling(ctx, w, node, pod)
	}
	return fmt.Sprintf("claim %s and pod %s (%s)", v.Claim, pod.Name, podTrouble(*pod)), false, nil
}

// blank tells on the Backup that a volume made from it has no data.
func (r *Reconciler) blank(ctx context.Context, w *work, node string, failed error) error {
	v := api.Verification{Problems: []string{fmt.Sprintf("%s: %s on the volume made from the backup", node, prepare.NoData)}}
	w.restore.Status.Verification = &v
	return errors.Join(failed, r.recordVerified(ctx, w, v, failed))
}

// ownVolume refuses a claim that only names a volume. Whoever may make claims and pods in
// the namespace can put his own in the place of ours before we come, with our label and
// any volume's name; and what is noted as the restore's volume is deleted when the restore
// is taken back.
func (r *Reconciler) ownVolume(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName == "" {
		return nil
	}
	var pv corev1.PersistentVolume
	if err := r.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &pv); err != nil {
		return fmt.Errorf("get volume %s of claim %s/%s: %w", claim.Spec.VolumeName, claim.Namespace, claim.Name, err)
	}
	if !boundTo(&pv, claim) {
		return reason.Refuse(api.ReasonClaimNotBound, "claim %s/%s names volume %s, which is bound to another claim: somebody made or changed it while it was restored; delete it and restore again", claim.Namespace, claim.Name, pv.Name)
	}
	return nil
}

// markVolume says on a clone's volume whose it is, so that it is found when its
// claim is gone. In place, the volume becomes the instance's own.
func (r *Reconciler) markVolume(ctx context.Context, restore *api.Restore, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName == "" {
		return nil
	}
	if restore.Spec.InPlace != nil || restore.Spec.GoLive {
		if claim.Spec.VolumeName != staticName(restore, claim.Labels[api.NodeLabel]) {
			return nil
		}
		return r.changeVolume(ctx, claim.Spec.VolumeName, func(pv *corev1.PersistentVolume) { delete(pv.Labels, api.RestoreUIDLabel) })
	}
	return r.changeVolume(ctx, claim.Spec.VolumeName, func(pv *corev1.PersistentVolume) {
		if boundTo(pv, claim) {
			metav1.SetMetaDataLabel(&pv.ObjectMeta, api.RestoreUIDLabel, string(restore.UID))
		}
	})
}

// volumes are the record's nodes with the claims to make: in place those are
// temporary, since the instance still runs on its own.
func (w *work) volumes() []catalog.Node {
	nodes := slices.Clone(w.record.Nodes)
	for i := range nodes {
		nodes[i] = chosen(w.restore, nodes[i])
		if w.restore.Spec.InPlace != nil {
			nodes[i].Claim = temporary(w.restore, nodes[i].Claim)
		}
	}
	return nodes
}

func volumeStatus(restore *api.Restore, node string) *api.RestoredVolume {
	for i := range restore.Status.Volumes {
		if restore.Status.Volumes[i].Node == node {
			return &restore.Status.Volumes[i]
		}
	}
	return &api.RestoredVolume{}
}

// dropImports removes what was only needed to fill the claims.
func (r *Reconciler) dropImports(ctx context.Context, restore *api.Restore) error {
	r.fills.Stop(restore.UID)
	selector := client.MatchingLabels(labels(restore, ""))
	err := r.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(restore.Namespace), selector, client.HasLabels{api.RoleLabel})
	if err != nil {
		return fmt.Errorf("delete prepare-volume pods: %w", err)
	}
	// A cluster without these kinds has none of them.
	if err := r.Client.DeleteAllOf(ctx, &snapv1.VolumeSnapshot{}, client.InNamespace(restore.Namespace), selector); err != nil && !meta.IsNoMatchError(err) {
		return fmt.Errorf("delete imported VolumeSnapshots: %w", err)
	}
	if err := r.Client.DeleteAllOf(ctx, &snapv1.VolumeSnapshotContent{}, selector); err != nil && !meta.IsNoMatchError(err) {
		return fmt.Errorf("delete imported VolumeSnapshotContents: %w", err)
	}
	return nil
}

// create makes an object, or finds that this restore made it before. Anybody
// else's object of that name means that the namespace is not free.
func (r *Reconciler) create(ctx context.Context, restore *api.Restore, o client.Object) error {
	err := r.Client.Create(ctx, o)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return err
	}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
		return err
	}
	if there.GetLabels()[api.RestoreUIDLabel] != string(restore.UID) {
		return reason.Refuse(api.ReasonTargetNotEmpty, "%s %s exists in namespace %s and is not of this restore; restore into an empty namespace",
			kindOf(o), o.GetName(), restore.Namespace)
	}
	return nil
}

func kindOf(o client.Object) string {
	if kind := o.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	return fmt.Sprintf("%T", o)
}
