package catalog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

// Delete removes a record, the head first: what is half removed is not there. Other
// Secrets stay, whatever they are labelled.
func (s Store) Delete(ctx context.Context, uid types.UID) error {
	head := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName(uid, 0), Namespace: s.Namespace}}
	if err := s.Client.Delete(ctx, head); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete record %s/%s: %w", s.Namespace, head.Name, err)
	}
	parts, err := s.list(ctx, client.MatchingLabels{api.BackupUIDLabel: string(uid)})
	if err != nil {
		return err
	}
	for i := range parts {
		part := &parts[i]
		if of, _, ok := PartOf(part); !ok || of != uid || part.Name == head.Name {
			continue
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: part.Name, Namespace: part.Namespace}}
		if err := s.Client.Delete(ctx, secret, client.Preconditions{UID: &part.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete record %s/%s: %w", s.Namespace, part.Name, err)
		}
	}
	return nil
}

// PartOf tells whose record a Secret is a part of, and which: 0 is the head. The
// name counts, a label anybody may put on.
func PartOf(o *metav1.PartialObjectMetadata) (uid types.UID, part int, ok bool) {
	uid = types.UID(o.Labels[api.BackupUIDLabel])
	number, ours := o.Labels[partLabel]
	if uid == "" || !ours {
		return "", 0, false
	}
	if number != headPart {
		var err error
		if part, err = strconv.Atoi(number); err != nil || part < 1 {
			return "", 0, false
		}
	}
	return uid, part, o.Name == secretName(uid, part)
}

// HeadOf reads what a head says without its data; ok is false for another part.
func HeadOf(o *metav1.PartialObjectMetadata) (head Head, parts int, ok bool) {
	uid, part, ours := PartOf(o)
	if !ours || part != 0 {
		return Head{}, 0, false
	}
	head = Head{Secret: o.Name, Namespace: o.Labels[api.SourceNamespaceLabel], Name: o.Annotations[api.SourceNameAnnotation], UID: uid,
		CutTime: o.Annotations[cutTimeAnnotation], Hold: o.Annotations[api.HoldAnnotation],
		ImportedFrom: o.Annotations[api.ImportedFromAnnotation], EBS: slices.Contains(strings.Split(o.Annotations[methodsAnnotation], ","), string(api.MethodEBS))}
	if allowed := o.Annotations[api.AllowedNamespacesAnnotation]; allowed != "" {
		head.AllowedNamespaces = strings.Split(allowed, ",")
	}
	parts, _ = strconv.Atoi(o.Annotations[chunksAnnotation]) // none is as wrong as no number
	return head, parts, true
}

// Parts gives all Secrets that bear the mark of a record, without their data, or
// those of one source namespace.
func (s Store) Parts(ctx context.Context, namespace string) ([]metav1.PartialObjectMetadata, error) {
	opts := []client.ListOption{client.HasLabels{partLabel}}
	if namespace != "" {
		opts = append(opts, client.MatchingLabels{api.SourceNamespaceLabel: namespace})
	}
	return s.list(ctx, opts...)
}

// list gives the metadata of Secrets: the bytes of all records would fill memory.
func (s Store) list(ctx context.Context, selected ...client.ListOption) (all []metav1.PartialObjectMetadata, err error) {
	empty := &metav1.PartialObjectMetadataList{}
	empty.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	for list, err := range paged.Pages(ctx, s.Client, empty, append(selected, client.InNamespace(s.Namespace))...) {
		if err != nil {
			return nil, fmt.Errorf("list records in %s: %w", s.Namespace, err)
		}
		for i := range list.Items { // a list of metadata says of its items only that
			list.Items[i].SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		}
		all = append(all, list.Items...)
	}
	return all, nil
}
