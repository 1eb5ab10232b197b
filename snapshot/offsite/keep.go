package offsite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/status"
)

// Keeper keeps the records of completed backups in the catalog.
type Keeper struct {
	Place   *Place
	Records catalog.Store
	Writer  bucket.Writer
	// Cluster gives the cluster's name.
	Cluster func(context.Context) (string, error)
	Events  events.EventRecorder
	Now     func() time.Time
}

// Wants tells whether a completed backup is not in this catalog.
func (k *Keeper) Wants(b *api.Backup) bool {
	return !meta.IsStatusConditionTrue(b.Status.Conditions, api.ConditionCataloged) || b.Status.Catalog == nil || b.Status.Catalog.URL != k.Place.shown()
}

// Keep writes the record of a completed backup into the catalog.
func (k *Keeper) Keep(ctx context.Context, b *api.Backup) (again time.Duration) {
	if b.Status.Phase != api.PhaseCompleted || !k.Wants(b) {
		return 0
	}
	place, wait, err := k.Place.enter(ctx)
	if err != nil {
		k.failed(b, err)
		return wait
	}
	if place == nil {
		return wait
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	record, err := k.Records.Get(bounded, b.Status.Record)
	if err != nil { // the bucket is not to blame
		k.Place.back()
		k.failed(b, err)
		if errors.Is(err, catalog.ErrNotFound) {
			return 0
		}
		return longestPause
	}
	by := k.Writer
	if by.Cluster, err = k.Cluster(bounded); err != nil {
		k.Place.back()
		k.failed(b, err)
		return shortestPause
	}
	m, err := place.Put(bounded, record, by)
	wait = k.Place.leave(err)
	if err != nil {
		k.failed(b, err)
		return wait
	}
	now := metav1.NewTime(k.Now())
	b.Status.Catalog = &api.CatalogStatus{URL: place.URL(), Key: m.Head().Key(), Time: &now, Secrets: m.Secrets.State}
	k.say(b, metav1.ConditionTrue, api.ReasonDone, done(place.URL(), m))
	return 0
}

// CopyComplete notes a complete copy beside the record.
func (k *Keeper) CopyComplete(ctx context.Context, b *api.Backup, c api.CopyStatus) error {
	if k.Wants(b) {
		return errors.New("the backup's record is not in the catalog yet")
	}
	place, wait, err := k.Place.enter(ctx)
	if err != nil {
		return err
	}
	if place == nil {
		return fmt.Errorf("the catalog is not asked before %s", k.Now().Add(wait).UTC().Format(time.TimeOnly))
	}
	note := bucket.Copy{UID: b.UID, Name: c.Name, Region: c.Region, Account: c.Account}
	if c.CompletionTime != nil {
		note.CompletionTime = c.CompletionTime.Time
	}
	for _, v := range c.Volumes {
		note.Volumes = append(note.Volumes, bucket.CopiedVolume{Node: v.Node, Handle: v.Handle, KMSKeyID: v.KMSKeyID})
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err = place.PutCopy(bounded, note)
	k.Place.leave(err)
	return err
}

// done says where the record is and what a restore from there will lack.
func done(url string, m bucket.Manifest) string {
	message := "its record is in the catalog " + url
	if m.Secrets.State == api.SecretsSealed {
		message += fmt.Sprintf("; its Secrets are sealed to %d recipients", len(m.Secrets.Recipients))
	} else if len(m.Secrets.Held) > 0 {
		var names []string
		for _, h := range m.Secrets.Held {
			names = append(names, strings.ToLower(h.Kind)+" "+h.Name)
		}
		message += "; without its Secrets, since no recipient is configured (setting catalog-recipients; kubectl cht catalog keygen makes a key): a restore from there will need from you: " + strings.Join(names, ", ")
	}
	if strings.HasPrefix(url, "file:") {
		message += ". The catalog is on a volume of this cluster, and is lost with it"
	}
	return message
}

func (k *Keeper) failed(b *api.Backup, err error) {
	message := fmt.Sprintf("the backup is good, but its record is not in the catalog: %v", err)
	if c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionCataloged); c == nil || c.Status != metav1.ConditionFalse {
		status.Event(k.Events, b, corev1.EventTypeWarning, api.ReasonCatalogFailed, message)
	}
	k.say(b, metav1.ConditionFalse, api.ReasonCatalogFailed, message)
}

func (k *Keeper) say(b *api.Backup, is metav1.ConditionStatus, why, message string) {
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionCataloged, Status: is, Reason: why, Message: status.Clip(message), ObservedGeneration: b.Generation})
}

// Remove removes the record of a backup that is deleted with its snapshots. While
// the catalog cannot be reached, both stay: a record without snapshots would be a
// promise that nobody can keep.
func (k *Keeper) Remove(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	if b.Status.CutTime == nil { // no record can have been written
		return 0, nil
	}
	if c := b.Status.Catalog; c != nil && c.URL != k.Place.shown() {
		k.leaveBehind(b, c.URL, c.Key, "that is no longer the catalog of this controller")
		return 0, nil
	}
	place, wait, err := k.Place.enter(ctx)
	if err != nil {
		return k.hindered(b, wait, err), nil
	}
	if place == nil {
		return wait, nil // why was said by who found out
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	head := bucket.Head{Namespace: b.Namespace, Name: b.Name, UID: b.UID, CutTime: b.Status.CutTime.UTC().Truncate(time.Microsecond)}
	err = place.Delete(bounded, head)
	if denied(err) { // who may only add keeps his records from whoever takes the cluster
		k.Place.leave(nil)
		k.leaveBehind(b, place.URL(), head.Key(), err.Error())
		return 0, nil
	}
	wait = k.Place.leave(err)
	if err != nil {
		return k.hindered(b, wait, err), nil
	}
	return 0, nil
}

// hindered tells why a Backup is not gone yet.
func (k *Keeper) hindered(b *api.Backup, wait time.Duration, err error) time.Duration {
	status.Event(k.Events, b, corev1.EventTypeWarning, api.ReasonCatalogFailed, fmt.Sprintf("The backup is not deleted yet, since its record cannot be removed from the catalog: %v. To delete it without, configure another catalog or none", err))
	return wait
}

func (k *Keeper) leaveBehind(b *api.Backup, url, key, why string) {
	status.Event(k.Events, b, corev1.EventTypeWarning, api.ReasonCatalogFailed, fmt.Sprintf("The record %s stays in the catalog %s, without its snapshots: %s. Remove it there by hand", key, url, why))
}
