package catalog

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// recording is a store that notes the names it creates, in order.
func recording() (Store, *[]string) {
	var order []string
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			order = append(order, o.GetName())
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	return Store{Client: c, Namespace: home}, &order
}

// putRaw writes a record as it is, as another version of this program might.
func putRaw(t *testing.T, s Store, r Record) string {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(zip).Encode(r), zip.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(packed.Bytes())
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "raw", Namespace: home, Labels: map[string]string{api.BackupUIDLabel: string(r.UID)},
		Annotations: map[string]string{chunksAnnotation: "1", digestAnnotation: hex.EncodeToString(sum[:])}}, Data: map[string][]byte{dataKey: packed.Bytes()}}
	if err := s.write(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	return secret.Name
}
