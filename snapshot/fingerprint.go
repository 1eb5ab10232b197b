package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// sampleWithin bounds the sample on each side of the cut: a backup is worth more
	// than its fingerprint.
	sampleWithin = 30 * time.Second
	// fingerprintTurn is how long databases are streamed before the storage is looked
	// at again.
	fingerprintTurn = 20 * time.Second
	// fingerprintTries is how often a database is streamed before it goes without.
	fingerprintTries = 3
)

// beginFingerprint notes what there is before the cut. That it cannot is no
// reason to fail the backup: the record says so.
func (c cluster) beginFingerprint(ctx context.Context, level api.Fingerprint, counts map[string]couchdb.Counts, infos map[string]couchdb.Info) *fingerprint.Print {
	if level != api.FingerprintSample && level != api.FingerprintFull {
		return nil
	}
	p := &fingerprint.Print{Level: level}
	if level == api.FingerprintFull {
		p.Databases = map[string]*fingerprint.Database{}
		for name, info := range infos {
			if !fingerprint.Own(name) {
				p.Databases[name] = fingerprint.Begin(info)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sampleWithin)
	defer cancel()
	var err error
	if p.Samples, err = fingerprint.Choose(ctx, c.first, counts); err != nil {
		p.Notes, p.Samples = append(p.Notes, fmt.Sprintf("no sample was drawn before the cut: %s", err)), nil
	}
	return p
}

// keepFingerprint keeps of the sample what is the same after the cut.
func (c cluster) keepFingerprint(ctx context.Context, p *fingerprint.Print) *fingerprint.Print {
	if p == nil || p.Samples == nil {
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, sampleWithin)
	defer cancel()
	var err error
	if p.Samples, err = fingerprint.Keep(ctx, c.first, p.Samples); err != nil {
		p.Notes, p.Samples = append(p.Notes, fmt.Sprintf("the sample could not be read again after the cut: %s", err)), nil
	}
	return p
}

// takeFingerprint streams the databases whose digest is not taken yet, for one
// turn. What is taken is in the record, so that a controller that starts anew goes
// on from there.
func (r *Reconciler) takeFingerprint(ctx context.Context, b *api.Backup) (taken bool, err error) {
	if b.Spec.Fingerprint != api.FingerprintFull {
		return true, nil
	}
	record, err := r.Records.Get(ctx, b.Status.Record)
	if err != nil {
		return false, fmt.Errorf("read the record to note the fingerprint: %w", err)
	}
	p := record.Fingerprint
	if p.Taken() {
		return true, nil
	}
	ctx, cancel := r.whileWanted(ctx, b)
	defer cancel()
	until := time.Now().Add(fingerprintTurn)
	c, err := r.anyNode(ctx, b)
	digest, room, left := &fingerprint.Digest{}, fingerprint.MostExcluded, 0
	for _, d := range p.Databases {
		room -= len(d.Without)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Databases)) {
		d := p.Databases[name]
		switch {
		case d.Digest != "" || d.Missing != "":
			continue
		case err != nil:
			d.Give(fmt.Sprintf("CouchDB could not be asked after the cut: %s", err))
			continue
		case time.Now().After(until):
			left++
			continue
		}
		var failed error
		for range fingerprintTries {
			if failed = d.Take(ctx, c, name, digest, room); failed == nil || ctx.Err() != nil {
				break
			}
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("note the ids and revisions of database %s: %w", name, errors.Join(failed, ctx.Err()))
		}
		if failed != nil {
			d.Give(fmt.Sprintf("it could not be read after the cut: %s", failed))
		}
		room -= len(d.Without)
	}
	if _, err := r.Records.Put(ctx, record, b.Spec.AllowedNamespaces); err != nil {
		return false, reason.Failed(api.ReasonRecordFailed, "%w", err)
	}
	r.progress(b, fmt.Sprintf("the CHT runs on; noting the ids and revisions of the databases: %d of %d", len(p.Databases)-left, len(p.Databases)))
	return left == 0, nil
}

// anyNode finds the instance again: the controller may be another than the one
// that cut.
func (r *Reconciler) anyNode(ctx context.Context, b *api.Backup) (*couchdb.Client, error) {
	inventory, err := cht.Load(ctx, r.Client, b.Namespace)
	if err != nil {
		return nil, err
	}
	instance, err := cht.Discover(inventory)
	if err != nil {
		return nil, err
	}
	return couchdb.New(instance.Nodes[0].Pod.URL(), instance.User, instance.Password, r.Transport), nil
}

// whileWanted gives a context that ends when the backup is deleted.
func (r *Reconciler) whileWanted(ctx context.Context, b *api.Backup) (context.Context, context.CancelFunc) {
	return await.While(ctx, r.Client, &api.BackupList{}, func(o runtime.Object) bool {
		now, ok := o.(*api.Backup)
		return ok && now.UID == b.UID && now.DeletionTimestamp != nil
	}, client.InNamespace(b.Namespace), client.MatchingFields{"metadata.name": b.Name})
}
