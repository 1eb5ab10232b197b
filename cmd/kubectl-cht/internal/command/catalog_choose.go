package command

import (
	"context"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/ec2tags"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// choice are the flags that say which of several backups is meant.
type choice struct {
	asOf, cluster string
}

func (f *choice) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.asOf, "as-of", "", "Of a catalog's namespace: the newest good backup that was cut at or before this `TIME` (RFC 3339, or a date, which means its end in UTC)")
	flags.StringVar(&f.cluster, "cluster", "", "Of a catalog's namespace: the backups of this cluster, where several have a namespace of that name")
}

func (f *choice) wanted(namespace, name, uid string) (offsite.Wanted, error) {
	w := offsite.Wanted{Namespace: namespace, Name: name, UID: types.UID(uid), Cluster: f.cluster}
	if namespace == "" {
		return w, exit.Errorf(exit.Usage, "%w", errNothing)
	}
	if f.asOf != "" {
		var err error
		if w.AsOf, err = offsite.ParseAsOf(f.asOf); err != nil {
			return w, exit.Errorf(exit.Usage, "--as-of: %w", err)
		}
	}
	return w, nil
}

// chooseHead gives the record that is meant.
func (e *Env) chooseHead(ctx context.Context, b *bucket.Bucket, want offsite.Wanted) (bucket.Head, error) {
	heads, err := e.heads(ctx, b, "")
	if err != nil {
		return bucket.Head{}, err
	}
	entries, byKey := make([]offsite.Entry, 0, len(heads)), map[string]bucket.Head{}
	for _, h := range heads {
		entries, byKey[h.Key()] = append(entries, offsite.Entry{Namespace: h.Namespace, Name: h.Name, UID: h.UID, Cut: h.CutTime, Key: h.Key()}), h
	}
	among, err := want.Among(entries)
	if err != nil {
		return bucket.Head{}, exit.Errorf(exit.Refused, "%s: %w", b.URL(), err)
	}
	details, err := readDetails(ctx, b, among, byKey)
	if err != nil {
		return bucket.Head{}, err
	}
	picked, err := e.pickEntry(want, among, func(entry offsite.Entry) offsite.Detail { return details[entry.Key] })
	if err != nil {
		return bucket.Head{}, exit.Errorf(exit.Refused, "%s: %w", b.URL(), err)
	}
	return byKey[picked.Key], nil
}

// pickEntry picks one and tells which, unless it was named exactly.
func (e *Env) pickEntry(want offsite.Wanted, among []offsite.Entry, detail func(offsite.Entry) offsite.Detail) (offsite.Entry, error) {
	if err := want.OneCluster(among, detail); err != nil {
		return offsite.Entry{}, err
	}
	picked, skipped, err := want.Pick(among, detail)
	for _, s := range skipped {
		e.note("%s", show.OneLine(s))
	}
	if err == nil && want.Name == "" {
		e.note("the newest good backup of %s is %s, cut %s", want.Namespace, picked.Name, picked.Cut.UTC().Format(time.RFC3339))
	}
	return picked, err
}

// readDetails reads the manifests of what may be meant. One that the bucket does not
// give now is no broken one: then nothing is chosen.
func readDetails(ctx context.Context, b *bucket.Bucket, among []offsite.Entry, byKey map[string]bucket.Head) (map[string]offsite.Detail, error) {
	found := make([]offsite.Detail, len(among))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range among {
		group.Go(func() error {
			m, err := b.Manifest(within, byKey[among[i].Key])
			switch {
			case within.Err() != nil:
				return within.Err()
			case err != nil:
				found[i] = offsite.Detail{Broken: err.Error()}
			default:
				found[i] = offsite.Detail{Cluster: m.Cluster, Consistency: m.Consistency}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, explainBucket(ctx, "read the manifests", err)
	}
	details := map[string]offsite.Detail{}
	for i := range among {
		details[among[i].Key] = found[i]
	}
	return details, nil
}

// chooseSet gives the set of snapshots that is meant.
func (e *Env) chooseSet(ctx context.Context, region string, want offsite.Wanted) (tags.Set, error) {
	sets, err := e.tagSets(ctx, region, want.Namespace)
	if err != nil {
		return tags.Set{}, err
	}
	entries, details, byKey := offsite.OfSets(sets)
	among, err := want.Among(entries)
	if err == nil {
		var picked offsite.Entry
		if picked, err = e.pickEntry(want, among, func(entry offsite.Entry) offsite.Detail { return details[entry.Key] }); err == nil {
			return byKey[picked.Key], nil
		}
	}
	return tags.Set{}, exit.Errorf(exit.Refused, "tags in %s: %w", region, err)
}

func ec2Region(region string) error {
	if err := ec2tags.CheckRegion(region); err != nil {
		return exit.Errorf(exit.Usage, "--from-tags: %w", err)
	}
	return nil
}
