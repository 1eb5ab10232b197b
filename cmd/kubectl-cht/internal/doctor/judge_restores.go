package doctor

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
)

// pods judges freezers, and what prepares volumes and probes for restores.
func (l *look) pods() (all []Finding) {
	for i := range l.Pods {
		p := &l.Pods[i]
		role := p.Labels[api.RoleLabel]
		uid, owner, lives := types.UID(p.Labels[api.RestoreUIDLabel]), "Restore", false
		if uid != "" {
			lives = l.restores[uid] != nil
		} else {
			uid, owner = types.UID(p.Labels[api.BackupUIDLabel]), "Backup"
			lives = l.backups[uid] != nil
		}
		// All pods of ours begin with cht- and bear eight characters of the UID.
		if uid == "" || role == "" || lives || p.DeletionTimestamp != nil || l.young(p) || !strings.HasPrefix(p.Name, "cht-") || !strings.Contains(p.Name, fmt.Sprintf("-%.8s-", uid)) {
			continue
		}
		all = append(all, orphan("pod", p, uid, removePod, fmt.Sprintf("is a %s pod whose %s (UID %s) is gone", role, owner, uid), fixNext+" removes it"))
	}
	return all
}

// claims judges claims of Restores that are gone. What a completed restore made is
// somebody's CHT by then, whether it runs at this moment or not.
func (l *look) claims() (all []Finding) {
	for i := range l.Claims {
		c := &l.Claims[i]
		uid := types.UID(c.Labels[api.RestoreUIDLabel])
		if uid == "" || l.restores[uid] != nil || c.DeletionTimestamp != nil || l.young(c) || l.InUse[c.Namespace+"/"+c.Name] {
			continue
		}
		if strings.HasSuffix(c.Name, fmt.Sprintf("-%.8s", uid)) {
			all = append(all, orphan("claim", c, uid, removeClaim, fmt.Sprintf("is the temporary claim of a restore in place (UID %s) that is gone, and nothing uses it", uid), fixNext+" removes it"))
			continue
		}
		all = append(all, of(Information, "claim", c, fmt.Sprintf("was restored by a Restore (UID %s) that is gone, and no workload uses it now", uid),
			fmt.Sprintf("if nobody needs what it holds: kubectl delete pvc %s -n %s", c.Name, c.Namespace)))
	}
	return all
}

// volumes judges what clones left, and tells of what restores in place set aside.
func (l *look) volumes() (all []Finding) {
	for i := range l.Volumes {
		v := &l.Volumes[i]
		if by := v.Labels[api.SetAsideLabel]; by != "" {
			claim := v.Annotations[api.SetAsideClaimAnnotation]
			if namespace, _, _ := strings.Cut(claim, "/"); l.inScope(namespace) {
				all = append(all, of(Information, "volume", v, fmt.Sprintf("was set aside by a restore in place (UID %s): it holds what claim %s held before, %s", by, claim, v.Spec.Capacity.Storage()),
					fmt.Sprintf("once nobody wants to go back: kubectl patch pv %s --type merge -p '{\"spec\":{\"persistentVolumeReclaimPolicy\":\"Delete\"}}'", v.Name)))
			}
			continue
		}
		uid, ref := types.UID(v.Labels[api.RestoreUIDLabel]), v.Spec.ClaimRef
		if uid == "" || ref == nil || !l.inScope(ref.Namespace) || l.restores[uid] != nil || v.Status.Phase != corev1.VolumeReleased || v.DeletionTimestamp != nil || l.young(v) {
			continue
		}
		all = append(all, orphan("volume", v, uid, removeVolume, fmt.Sprintf("is a clone's (claim %s/%s); its Restore (UID %s) and its claim are gone", ref.Namespace, ref.Name, uid), fixNext+" removes it with what it holds"))
	}
	return all
}

// namespaces judges those that were made for a Restore.
func (l *look) namespaces() (all []Finding) {
	for i := range l.Namespaces {
		n := &l.Namespaces[i]
		if n.DeletionTimestamp != nil || l.young(n) || system(n.Name) || n.Name == l.System {
			continue
		}
		if f, ok := l.namespace(n); ok {
			all = append(all, f)
		}
	}
	return all
}

// system names namespaces that no annotation makes a restore's.
func system(namespace string) bool {
	return namespace == metav1.NamespaceDefault || strings.HasPrefix(namespace, "kube-")
}

func (l *look) namespace(n *metav1.PartialObjectMetadata) (Finding, bool) {
	parent, scratch := n.Annotations[api.ScratchForAnnotation]
	uid := types.UID(n.Labels[api.RestoreUIDLabel])
	holds, looked := l.Holds[n.Name]
	switch home, _, _ := strings.Cut(parent, "/"); {
	case scratch:
		// Its own restore is gone where the UID is, whatever bears that name by now.
		if !l.inScope(home) || uid == "" || !strings.HasSuffix(n.Name, fmt.Sprintf("-%.8s", uid)) {
			return Finding{}, false
		}
		what := fmt.Sprintf("is the scratch namespace of restore %s (UID %s), which is gone", parent, uid)
		if r := l.restores[uid]; r != nil {
			if !l.overFor(r) {
				return Finding{}, false
			}
			what = fmt.Sprintf("is the scratch namespace of restore %s, which is %s", parent, r.Status.Phase)
			// Its own restore's time to live ends it; it has the time to.
			if d := r.Status.Drill; d != nil && d.KeptUntil != nil && l.now.Sub(d.KeptUntil.Time) < l.minAge {
				return of(Information, "namespace", n, what+"; it is kept for a look until "+d.KeptUntil.UTC().Format(time.RFC3339), "kubectl cht describe restore "+r.Name+" -n "+r.Namespace), true
			}
		}
		if !looked || holds.Foreign != "" {
			return of(Problem, "namespace", n, what+"; it holds "+orUnknown(holds.Foreign)+", which is not of it", "save that; then kubectl delete namespace "+n.Name), true
		}
		return orphan("namespace", n, uid, removeNamespace, what, fixNext+" removes it with all that is in it"), true
	default:
		name := n.Annotations[api.CreatedForAnnotation]
		for i := range l.Restores {
			if l.Restores[i].Namespace == n.Name && l.Restores[i].Name == name {
				return Finding{}, false
			}
		}
		if name == "" || !l.inScope(n.Name) || !looked || holds.Any != "" {
			return Finding{}, false // what a completed restore made is somebody's by now
		}
		return orphan("namespace", n, "", removeNamespace, "was created for restore "+name+", which is gone, and is empty", fixNext+" removes it"), true
	}
}

func orUnknown(what string) string {
	if what == "" {
		return "what could not be looked at"
	}
	return what
}

// overFor tells whether a restore ended some time ago: until then it may be about
// to remove its scratch namespace.
func (l *look) overFor(r *api.Restore) bool {
	at := r.Status.CompletionTime
	return snapshot.Ended(r.Status.Phase) && r.DeletionTimestamp == nil && at != nil && l.now.Sub(at.Time) >= l.minAge
}
