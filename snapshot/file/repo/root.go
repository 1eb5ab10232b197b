package repo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
)

const (
	// rootText is what a repository's root says, signed with its key. In those of form 1
	// chunks were named by another hash.
	rootText = "cht-backup repository 2\n"
	maxRoot  = 64 << 10
	// maxSealedKeys that are tried, and maxSealedKey how large one is in bytes.
	maxSealedKeys = 1000
	maxSealedKey  = 64 << 10
)

func (r *Repository) rootKey() string { return rootsUnder + r.id }

func (r *Repository) putRoot(ctx context.Context) error {
	sum := r.key.mac(r.rootKey(), []byte(rootText))
	text := []byte(rootText + hex.EncodeToString(sum[:]) + "\n")
	return r.putOnce(ctx, r.rootKey(), text)
}

func (r *Repository) checkRoot(ctx context.Context) error {
	key := r.rootKey()
	text, err := r.get(ctx, key, 0, maxRoot)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("repository %s: object %s: %w", r.id, key, ErrNoRepository)
	}
	if err != nil {
		return err
	}
	return r.isRoot(text)
}

func (r *Repository) isRoot(text []byte) error {
	key := r.rootKey()
	signed, ok := strings.CutPrefix(string(text), rootText)
	if !ok {
		return fmt.Errorf("repository %s: object %s: it is no repository of the form that this version reads; use the cht-backup that made it", r.id, key)
	}
	sum := r.key.mac(key, []byte(rootText))
	if got, err := hex.DecodeString(strings.TrimSpace(signed)); err != nil || !same(got, sum[:]) {
		return fmt.Errorf("repository %s: object %s: %w", r.id, key, ErrWrongKey)
	}
	return nil
}

// List gives the IDs of the repositories in a bucket.
func List(ctx context.Context, objects Objects) ([]string, error) {
	r := &Repository{objects: objects, options: Options{}.complete()}
	var ids []string
	err := r.list(ctx, rootsUnder, func(o Object) error {
		if id := strings.TrimPrefix(o.Key, rootsUnder); idForm.MatchString(id) {
			ids = append(ids, id)
		}
		return nil
	}, func() { ids = nil })
	return ids, err
}

// SealKey puts the key into the bucket, sealed to recipients. The same again is good.
func (r *Repository) SealKey(ctx context.Context, recipients ...age.Recipient) error {
	if len(recipients) == 0 {
		return nil
	}
	key := r.at(keysIn, recipientsName(recipients)+keyEnd)
	there, err := r.has(ctx, key)
	if there || err != nil {
		return err
	}
	sealed, err := r.key.Seal(recipients...)
	if err != nil {
		return err
	}
	if err := r.put(ctx, key, sealed); err != nil && !errors.Is(err, ErrExists) { // sealed twice it is not the same bytes
		return err
	}
	return nil
}

// SealedTo tells whether the key lies in the bucket for exactly these recipients.
func (r *Repository) SealedTo(ctx context.Context, recipients ...age.Recipient) (bool, error) {
	return r.has(ctx, r.at(keysIn, recipientsName(recipients)+keyEnd))
}

// recipientsName is one for the same recipients in any order.
func recipientsName(recipients []age.Recipient) string {
	var texts []string
	for _, one := range recipients {
		texts = append(texts, fmt.Sprint(one))
	}
	slices.Sort(texts)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(texts), "\n")))
	return hex.EncodeToString(sum[:16])
}

// UnsealKey reads a repository's key from the bucket with an identity of whom it is
// sealed to. A wrong one gives an error that errors.As finds an *age.NoIdentityMatchError
// in. Whoever can write to the bucket could have made all of it, key and root: that it
// opens says that it was meant for the identity, not who wrote it.
func UnsealKey(ctx context.Context, objects Objects, id string, identities ...age.Identity) (Key, error) {
	if err := CheckID(id); err != nil {
		return Key{}, err
	}
	if len(identities) == 0 {
		return Key{}, fmt.Errorf("repository %s: its key is sealed; an age identity is needed to open it", id)
	}
	r := &Repository{objects: objects, id: id, options: Options{}.complete()}
	root, err := r.get(ctx, r.rootKey(), 0, maxRoot)
	if errors.Is(err, ErrNotFound) {
		return Key{}, fmt.Errorf("repository %s: object %s: %w", id, r.rootKey(), ErrNoRepository)
	}
	if err != nil {
		return Key{}, err
	}
	var names []string
	err = r.list(ctx, r.at(keysIn, ""), func(o Object) error {
		if strings.HasSuffix(o.Key, keyEnd) && len(names) < maxSealedKeys {
			names = append(names, o.Key)
		}
		return nil
	}, func() { names = nil })
	if err != nil {
		return Key{}, err
	}
	if len(names) == 0 {
		return Key{}, fmt.Errorf("repository %s: no key lies below %s: it was made without recipients, and only the cluster that writes it has the key, in a Secret of its controller's namespace", id, r.at(keysIn, ""))
	}
	var last error
	for _, name := range names {
		sealed, err := r.get(ctx, name, 0, maxSealedKey)
		if err != nil {
			return Key{}, err
		}
		key, err := unsealKey(sealed, identities)
		if err == nil {
			r.key = key
			err = r.isRoot(root)
		}
		if err == nil {
			return key, nil
		}
		var none *age.NoIdentityMatchError
		if last == nil || !errors.As(err, &none) { // what is damaged says more
			last = fmt.Errorf("repository %s: object %s: %w", id, name, err)
		}
	}
	return Key{}, last
}
