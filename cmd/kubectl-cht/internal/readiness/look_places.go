package readiness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/reason"
)

// lookAtPlaces finds the namespaces with a CHT, and looks at each.
func (s *Seen) lookAtPlaces(ctx context.Context, c client.Client) {
	names := []string{s.Namespace}
	if s.Namespace == "" {
		names = nil
		empty := &metav1.PartialObjectMetadataList{}
		empty.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DeploymentList"})
		err := paged.Each(ctx, c, empty, func(l *metav1.PartialObjectMetadataList) {
			for _, o := range l.Items {
				if cht.IsCouchDB(o.Labels[cht.ServiceLabel]) {
					names = append(names, o.Namespace)
				}
			}
		}, client.HasLabels{cht.ServiceLabel})
		s.note("CHTs in all namespaces", err)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, name := range names {
		if s.madeForRestore(name) {
			continue // nobody backs up a clone
		}
		if place, is := s.lookAtPlace(ctx, c, name); is {
			s.Places = append(s.Places, place)
		}
	}
}

// madeForRestore tells whether a namespace is a clone's or a drill's.
func (s *Seen) madeForRestore(namespace string) bool {
	if s.Status != nil && slices.Contains(s.Status.Clones, namespace) {
		return true
	}
	return slices.ContainsFunc(s.Namespaces, func(n metav1.PartialObjectMetadata) bool {
		return n.Name == namespace && n.Annotations[api.ScratchForAnnotation] != ""
	})
}

// lookAtPlace looks at the CHT of a namespace; it is none where nothing is labelled as
// its CouchDB.
func (s *Seen) lookAtPlace(ctx context.Context, c client.Client, namespace string) (Place, bool) {
	p := Place{Namespace: namespace}
	reader := &lenient{Reader: c}
	inventory, err := cht.Load(ctx, reader, namespace)
	if err != nil {
		s.note(instances(namespace), err)
		return p, false
	}
	instance, err := cht.Discover(inventory)
	e := reason.Of(err)
	if e != nil && e.Reason == api.ReasonNoInstance && inventory.Credentials != nil {
		return p, false
	}
	switch {
	case len(reader.hidden) > 0 && err != nil:
		// What is hidden looks as if it were not there.
		s.note(instances(namespace), missing(strings.Join(reader.hidden, ", ")))
		if len(inventory.Pods) == 0 {
			return p, false
		}
	case e != nil && e.Reason == api.ReasonNoInstance && len(inventory.Pods) == 0:
		return p, false
	case err != nil:
		p.Refusal = err
	default:
		p.Instance = &instance
	}
	p.Freezer = s.lookAtFreezer(ctx, c, namespace)
	return p, true
}

// lenient takes what may not be read for what is not there, and notes it.
type lenient struct {
	client.Reader
	hidden []string
}

func (l *lenient) hide(o any) {
	kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1."), "List") + "s"
	if !slices.Contains(l.hidden, kind) {
		l.hidden = append(l.hidden, kind)
	}
}

// Get implements client.Reader.
func (l *lenient) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	err := l.Reader.Get(ctx, key, o, opts...)
	if apierrors.IsForbidden(err) {
		l.hide(o)
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	return err
}

// List implements client.Reader.
func (l *lenient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := l.Reader.List(ctx, list, opts...)
	if apierrors.IsForbidden(err) {
		l.hide(list)
		return nil
	}
	return err
}

// enforceLabel is where a namespace says what pods it takes.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// lookAtFreezer tries the pod where the user may create pods; else the namespace's
// label tells what Kubernetes' own admission would do.
func (s *Seen) lookAtFreezer(ctx context.Context, c client.Client, namespace string) Admission {
	refusal, err := checkup.Admits(ctx, c, namespace, "cht-backup")
	if err == nil {
		return Admission{Known: true, Refusal: refusal, Source: "a dry run with your rights"}
	}
	var n corev1.Namespace
	if c.Get(ctx, client.ObjectKey{Name: namespace}, &n) == nil {
		if level := n.Labels[enforceLabel]; level == "baseline" || level == "restricted" {
			return Admission{Known: true, Refusal: "the namespace enforces pod security level " + level, Source: "its label"}
		} else if level != "" {
			return Admission{Known: true, Source: "its label"}
		}
	}
	s.note(freezerIn(namespace), err)
	return Admission{}
}

// wanted are the rights of somebody who backs up and restores, by what he would do.
var wanted = []struct{ verb, resource, words string }{
	{"create", "backups", "take backups"},
	{"watch", "backups", "follow them"},
	{"delete", "backups", "delete them"},
	{"patch", "backups", "hold them"},
	{"create", "backupschedules", "make schedules"},
	{"patch", "backupschedules", "suspend schedules or trigger them"},
	{"create", "restores", "restore or drill"},
	{"watch", "restores", "follow a restore"},
	{"delete", "restores", "remove restores"},
}

func (s *Seen) lookAtRights(ctx context.Context, c client.Client) error {
	for _, w := range wanted {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: s.Namespace, Verb: w.verb, Group: api.GroupVersion.Group, Resource: w.resource}}}
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			s.Denied = append(s.Denied, w.words)
		}
	}
	return nil
}
