package served

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// scratchForm is how the namespaces are named that drills and restores of one database
// make: package restore names them.
var scratchForm = regexp.MustCompile(`-scratch-[0-9a-f-]{1,8}$`)

// scratch is what is known of a namespace with such a name.
type scratch struct {
	owner string
	at    time.Time
}

// believed is for how long it is not looked anew whose it is. One that is made under
// the same name again is of the same restore.
const believed = time.Minute

// owner names the namespace that decides who works on another: for a scratch namespace
// that of the restore that it is for, for any other itself.
func (n *Namespaces) owner(ctx context.Context, namespace string) (string, error) {
	if !scratchForm.MatchString(namespace) {
		return namespace, nil
	}
	now := n.now()
	n.mu.Lock()
	known, ok := n.scratch[namespace]
	n.mu.Unlock()
	if ok && now.Sub(known.at) < believed && !now.Before(known.at) {
		return known.owner, nil
	}
	found := namespace
	var there corev1.Namespace
	err := n.client.Get(ctx, client.ObjectKey{Name: namespace}, &there)
	switch {
	case err == nil:
		// Who may make namespaces may write the annotation, but cannot choose the name:
		// it begins with that of the owner.
		if parent, _, has := strings.Cut(there.Annotations[api.ScratchForAnnotation], "/"); has && strings.HasPrefix(namespace, fmt.Sprintf("%.40s-scratch-", parent)) {
			found = parent
		}
	case ok && apierrors.IsNotFound(err):
		found = known.owner // what is left of it goes to whom it was
	case apierrors.IsNotFound(err):
	default:
		return "", fmt.Errorf("get namespace %s: %w", namespace, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scratch[namespace] = scratch{owner: found, at: now}
	for name, s := range n.scratch {
		if now.Sub(s.at) > 24*time.Hour {
			delete(n.scratch, name)
		}
	}
	return found, nil
}
