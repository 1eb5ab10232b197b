package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	// chunkBytes of a record go into one Secret; the API server's limit is 1 MiB.
	chunkBytes = 900 << 10
	// maxRecord bounds a record unpacked, so that a hostile one cannot fill memory.
	maxRecord = 512 << 20

	secretType = corev1.SecretType("backup.communityhealthtoolkit.org/record")
	dataKey    = "record"

	partLabel         = "backup.communityhealthtoolkit.org/record-part"
	chunksAnnotation  = "backup.communityhealthtoolkit.org/record-chunks"
	digestAnnotation  = "backup.communityhealthtoolkit.org/record-sha256"
	cutTimeAnnotation = "backup.communityhealthtoolkit.org/cut-time"
	methodsAnnotation = "backup.communityhealthtoolkit.org/methods"
	headPart          = "head"
)

// ErrNotFound is the answer when there is no such record.
var ErrNotFound = errors.New("no such record")

// ErrInvalid marks a record that is whole, and that nobody can use all the same: it
// contradicts itself, or is of another version. Reading it again does not help.
var ErrInvalid = errors.New("it cannot be used")

// Store keeps records as Secrets in one namespace.
type Store struct {
	Client    client.Client
	Namespace string
}

// Head is what can be known of a record without reading it.
type Head struct {
	Secret            string
	Namespace, Name   string
	UID               types.UID
	AllowedNamespaces []string
	CutTime           string // RFC 3339
	// Hold says why it must not be deleted; "" if it may be.
	Hold string
	// ImportedFrom is where it was read that another cluster wrote; "" for one of this.
	ImportedFrom string
	// EBS: some of its snapshots were taken by EC2, and no object of the cluster stands
	// for them.
	EBS bool
}

func secretName(uid types.UID, part int) string {
	if part == 0 {
		return "cht-backup-" + string(uid)
	}
	return fmt.Sprintf("cht-backup-%s-%d", uid, part)
}

// Put writes a record: all other parts first, the head last. Writing it again
// replaces it.
func (s Store) Put(ctx context.Context, r Record, allowed []string) (head string, err error) {
	packed, err := Encode(r)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(packed)
	chunks := slices.Collect(slices.Chunk(packed, chunkBytes))
	for part := len(chunks) - 1; part >= 0; part-- {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: secretName(r.UID, part), Namespace: s.Namespace,
				Labels: map[string]string{api.BackupUIDLabel: string(r.UID), api.SourceNamespaceLabel: r.Namespace, partLabel: strconv.Itoa(part)},
			},
			Type: secretType,
			Data: map[string][]byte{dataKey: chunks[part]},
		}
		if part == 0 {
			secret.Labels[partLabel] = headPart
			secret.Annotations = map[string]string{
				api.SourceNameAnnotation: r.Name, chunksAnnotation: strconv.Itoa(len(chunks)), digestAnnotation: hex.EncodeToString(digest[:]),
				api.AllowedNamespacesAnnotation: strings.Join(allowed, ","), cutTimeAnnotation: metav1.NewTime(r.CutTime).UTC().Format("2006-01-02T15:04:05Z"),
				methodsAnnotation: strings.Join(r.methods(), ","),
			}
		}
		if part == 0 && r.ImportedFrom != "" {
			secret.Annotations[api.ImportedFromAnnotation] = r.ImportedFrom
		}
		if err := s.write(ctx, secret); err != nil {
			return "", fmt.Errorf("write record %s/%s: %w", s.Namespace, secret.Name, err)
		}
	}
	return secretName(r.UID, 0), nil
}

// methods by which the volumes were cut, each once.
func (r Record) methods() (all []string) {
	for _, n := range r.Nodes {
		m := string(cmp.Or(n.Method, api.MethodCSI))
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	slices.Sort(all)
	return all
}

func (s Store) write(ctx context.Context, secret *corev1.Secret) error {
	err := s.Client.Create(ctx, secret)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return s.Client.Update(ctx, secret)
}

// Get reads a record by its head's name and checks it.
func (s Store) Get(ctx context.Context, head string) (Record, error) {
	var r Record
	var secret corev1.Secret
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: head}, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return r, ErrNotFound
		}
		return r, fmt.Errorf("get record %s/%s: %w", s.Namespace, head, err)
	}
	count, err := strconv.Atoi(secret.Annotations[chunksAnnotation])
	if err != nil || count < 1 || count > maxRecord/chunkBytes {
		return r, fmt.Errorf("record %s/%s: annotation %s is %q", s.Namespace, head, chunksAnnotation, secret.Annotations[chunksAnnotation])
	}
	uid, digest := types.UID(secret.Labels[api.BackupUIDLabel]), secret.Annotations[digestAnnotation]
	packed := slices.Clone(secret.Data[dataKey])
	for part := 1; part < count; part++ {
		var more corev1.Secret
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: secretName(uid, part)}, &more); err != nil {
			return r, fmt.Errorf("record %s/%s is incomplete: part %d: %w", s.Namespace, head, part, err)
		}
		packed = append(packed, more.Data[dataKey]...)
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != digest {
		return r, fmt.Errorf("record %s/%s is damaged: its SHA-256 is not the one noted", s.Namespace, head)
	}
	if r, err = Decode(packed, maxRecord); err != nil {
		return r, fmt.Errorf("record %s/%s: %w: %w", s.Namespace, head, ErrInvalid, err)
	}
	if r.UID != uid {
		return r, fmt.Errorf("record %s/%s: %w: it says that it is of backup %q, its label says %q", s.Namespace, head, ErrInvalid, r.UID, uid)
	}
	return r, nil
}

// List gives the heads of all records, or of those of one source namespace.
func (s Store) List(ctx context.Context, namespace string) ([]Head, error) {
	labels := client.MatchingLabels{partLabel: headPart}
	if namespace != "" {
		labels[api.SourceNamespaceLabel] = namespace
	}
	secrets, err := s.list(ctx, labels)
	if err != nil {
		return nil, err
	}
	var heads []Head
	for i := range secrets {
		if head, _, ok := HeadOf(&secrets[i]); ok {
			heads = append(heads, head)
		}
	}
	return heads, nil
}

// Allow writes into a record's head which namespaces it may be restored into.
func (s Store) Allow(ctx context.Context, head string, namespaces []string) error {
	return s.annotate(ctx, head, "set the allowed namespaces of", map[string]any{api.AllowedNamespacesAnnotation: strings.Join(namespaces, ",")})
}

// Hold writes into a record's head why it must not be deleted; "" lets it go.
func (s Store) Hold(ctx context.Context, head, why string) error {
	return s.annotate(ctx, head, "hold", map[string]any{api.HoldAnnotation: orNothing(why)})
}

// Outlive writes into a record's head what stood on its Backup, which goes.
func (s Store) Outlive(ctx context.Context, head string, allowed []string, hold string) error {
	return s.annotate(ctx, head, "keep", map[string]any{api.AllowedNamespacesAnnotation: strings.Join(allowed, ","), api.HoldAnnotation: orNothing(hold)})
}

// orNothing is what a merge patch takes for no value.
func orNothing(value string) any {
	if value == "" {
		return nil
	}
	return value
}

func (s Store) annotate(ctx context.Context, head, doing string, annotations map[string]any) error {
	if head == "" {
		return ErrNotFound
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: head, Namespace: s.Namespace}}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	err = s.Client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s record %s/%s: %w", doing, s.Namespace, head, err)
	}
	return nil
}
