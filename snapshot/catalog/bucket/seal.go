package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// maxRecipients of a catalog.
const maxRecipients = 32

// sealedFormat is the version of what is sealed.
const sealedFormat = 1

// Secrets are what of a record is kept apart from it: whole Secrets, single values
// of other objects, and the values of the Helm release.
type Secrets struct {
	Format int `json:"format"`
	// UID of the backup, so that nobody swaps sealed files.
	UID types.UID `json:"uid"`
	// Objects are the Secrets.
	Objects []json.RawMessage `json:"objects,omitempty"`
	// Values stand in other objects.
	Values []Value `json:"values,omitempty"`
	// Release holds the values of the Helm release.
	Release json.RawMessage `json:"release,omitempty"`
}

// Value is one text of an object that is not a Secret.
type Value struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	// Path is its place, a JSON pointer.
	Path string `json:"path"`
	Text string `json:"text"`
}

// Recipients parses public keys, age1….
func Recipients(keys []string) ([]age.Recipient, error) {
	if len(keys) > maxRecipients {
		return nil, fmt.Errorf("%d recipients; %d are the most", len(keys), maxRecipients)
	}
	var recipients []age.Recipient
	for _, key := range keys {
		key = strings.TrimSpace(key)
		if strings.HasPrefix(strings.ToUpper(key), "AGE-SECRET-KEY-") {
			return nil, errors.New("a recipient is an identity, the secret half of a key: give its public half, age1…, and make a new key, since the cluster has seen this one")
		}
		r, err := age.ParseX25519Recipient(key)
		if err != nil {
			return nil, fmt.Errorf("recipient %q is no public key of age's, age1…; make one with: kubectl cht catalog keygen", clip(key))
		}
		recipients = append(recipients, r)
	}
	return recipients, nil
}

// seal encrypts for the recipients.
func seal(s Secrets, recipients []age.Recipient) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	if err := errors.Join(json.NewEncoder(w).Encode(s), w.Close()); err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	if sealed.Len() > maxSealed {
		return nil, fmt.Errorf("the sealed secrets have %d bytes; %d are the most", sealed.Len(), maxSealed)
	}
	return sealed.Bytes(), nil
}

// ErrLeftOut is the answer when a record was written without its Secrets.
var ErrLeftOut = errors.New("the Secrets were left out of this record, since no recipient was configured")

// Secrets reads and opens the sealed Secrets of a record. The identities stay with
// the caller. A wrong one gives an error that errors.As finds an
// *age.NoIdentityMatchError in.
func (b *Bucket) Secrets(ctx context.Context, m Manifest, identities ...age.Identity) (Secrets, error) {
	if m.Secrets.State != api.SecretsSealed {
		return Secrets{}, b.refuse(m.Head().Key(), ErrLeftOut)
	}
	text, err := b.file(ctx, m, secretsFile)
	if err != nil {
		return Secrets{}, err
	}
	s, err := openSealed(text, m, identities)
	if err != nil {
		return Secrets{}, b.refuse(dataKey(m.UID, secretsFile), err)
	}
	return s, nil
}

func openSealed(text []byte, m Manifest, identities []age.Identity) (Secrets, error) {
	if len(identities) == 0 {
		return Secrets{}, errors.New("it is sealed; an age identity is needed to open it")
	}
	r, err := age.Decrypt(bytes.NewReader(text), identities...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return Secrets{}, fmt.Errorf("none of the identities opens it; it is sealed to %s: %w", strings.Join(m.Secrets.Recipients, ", "), err)
		}
		return Secrets{}, fmt.Errorf("open: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSealed+1))
	if err != nil {
		return Secrets{}, fmt.Errorf("open: %w", err)
	}
	return decodeSecrets(plain, m)
}

// decodeSecrets reads what was sealed. That somebody could seal it says nothing of
// who: the recipients are public.
func decodeSecrets(plain []byte, m Manifest) (Secrets, error) {
	var s Secrets
	if len(plain) > maxSealed {
		return s, errors.New("it is too large")
	}
	if err := bounded.Text(plain, 100, 1<<20); err != nil {
		return s, err
	}
	// No error of the decoder is handed on: it may quote a value.
	if err := json.Unmarshal(plain, &s); err != nil {
		return Secrets{}, errors.New("what is sealed in it cannot be read")
	}
	if s.Format != sealedFormat {
		return Secrets{}, fmt.Errorf("what is sealed in it has format %d, this version reads %d; use a newer cht-backup", s.Format, sealedFormat)
	}
	if s.UID != m.UID {
		return Secrets{}, fmt.Errorf("what is sealed in it is of another backup, %q", clip(string(s.UID)))
	}
	for i, raw := range s.Objects {
		o, err := catalog.CheckObject(raw, m.Namespace)
		if err != nil || o.Kind != "Secret" || !o.Restored() {
			return Secrets{}, fmt.Errorf("sealed object %d is no Secret of %s", i, m.Namespace)
		}
	}
	return s, nil
}
