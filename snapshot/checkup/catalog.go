package checkup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

// Catalog is the one outside the cluster, as offsite.Place gives it.
type Catalog interface {
	// Shown is its URL without credentials.
	Shown() string
	Reach(context.Context) error
	Try(ctx context.Context, cluster string) (bucket.Tried, error)
}

const (
	// answerWithin bounds each question to the catalog.
	answerWithin = 30 * time.Second
	// tryEvery is how often it is written to while that works: a bucket that keeps
	// every version for months shall not keep thousands of them.
	tryEvery = 24 * time.Hour
)

// lastTry is what the last trial of writing showed.
type lastTry struct {
	at    time.Time
	found Check
}

func (l *Looker) catalog(ctx context.Context) []Check {
	if l.Catalog == nil {
		return []Check{fail(CatalogReachable, "", "set controller.catalog.url, and read docs/catalog.md", "no catalog is configured: the records of all backups are lost with this cluster, and its snapshots can hardly be restored without them")}
	}
	url := l.Catalog.Shown()
	checks := []Check{l.reach(ctx, url)}
	if checks[0].OK {
		checks = append(checks, l.write(ctx, url))
	} else {
		checks = append(checks, unknown(CatalogWritable, "", "", fmt.Errorf("the catalog %s was not written to, since it cannot be reached", url)))
	}
	if strings.HasPrefix(url, "file:") {
		checks = append(checks, fail(CatalogOutside, "", "choose a bucket: controller.catalog.url=s3://…, gs://… or azblob://…; the records there are written to it", "the catalog %s is on a volume of this cluster, and is lost with it", url))
	} else {
		checks = append(checks, pass(CatalogOutside, "", "the catalog %s is outside the cluster", url))
	}
	if l.Recipients == 0 {
		checks = append(checks, fail(CatalogRecipients, "", "make a key with kubectl cht catalog keygen, keep it where the cluster is not, and set controller.catalog.recipients", "no recipient is configured: the instances' Secrets are left out of the catalog, and a restore after the loss of the cluster needs them from you"))
	} else {
		checks = append(checks, pass(CatalogRecipients, "", "Secrets are sealed to %d recipients", l.Recipients))
	}
	return checks
}

func (l *Looker) reach(ctx context.Context, url string) Check {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := l.Catalog.Reach(ctx); err != nil {
		return fail(CatalogReachable, "", "check the URL, the network, and the controller's credentials (docs/catalog.md); it needs to list, read, write and delete", "the catalog cannot be used: %v", err)
	}
	return pass(CatalogReachable, "", "the catalog %s answers", url)
}

// write tries it once a day, and each time while it does not work.
func (l *Looker) write(ctx context.Context, url string) Check {
	if now := l.Now(); l.tried.found.OK && now.Sub(l.tried.at) < tryEvery {
		return l.tried.found
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	l.tried.at = l.Now()
	l.tried.found = func() Check {
		name, err := l.Cluster(ctx)
		if err != nil {
			return unknown(CatalogWritable, "", "set cluster-name", err)
		}
		tried, err := l.Catalog.Try(ctx, name)
		switch {
		case err != nil:
			return fail(CatalogWritable, "", "give the controller the right to write there (docs/catalog.md); until then no record of a backup leaves the cluster", "the catalog cannot be written to: %v", err)
		case !tried.Deletes:
			return pass(CatalogWritable, "", "the catalog %s was written to at %s; it lets nothing be deleted, so that the records of deleted backups stay there (%s)", url, l.tried.at.UTC().Format(time.RFC3339), tried.Why)
		}
		return pass(CatalogWritable, "", "the catalog %s was written to, read and cleaned up at %s", url, l.tried.at.UTC().Format(time.RFC3339))
	}()
	return l.tried.found
}
