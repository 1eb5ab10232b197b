package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/offsite"
)

// catalogConfig are the settings of the catalog outside the cluster.
type catalogConfig struct {
	CatalogURL          string        `mapstructure:"catalog-url"`
	CatalogRecipients   []string      `mapstructure:"catalog-recipients"`
	CatalogSyncInterval time.Duration `mapstructure:"catalog-sync-interval"`
	CatalogShowNewest   int           `mapstructure:"catalog-show-newest"`
}

func catalogFlags(flags *pflag.FlagSet) {
	flags.String("catalog-url", "", "where records of backups are kept outside the cluster: s3://BUCKET/PREFIX, gs://…, azblob://… or file:///DIRECTORY; none by default. Credentials come from the environment")
	flags.StringSlice("catalog-recipients", nil, "`age1…,…`: public keys that the instances' Secrets are sealed to in the catalog; without one they are left out")
	flags.Duration("catalog-sync-interval", 10*time.Minute, "how often the records of others in the catalog are looked for, 0 for never")
	flags.Int("catalog-show-newest", 20, "how many records of each namespace are shown as Backups in the controller's namespace")
}

func (c catalogConfig) checkCatalog() error {
	if c.CatalogURL == "" {
		return nil
	}
	if err := bucket.CheckURL(c.CatalogURL); err != nil {
		return fmt.Errorf("catalog-url: %w", err)
	}
	if _, err := bucket.Recipients(c.CatalogRecipients); err != nil {
		return fmt.Errorf("catalog-recipients: %w", err)
	}
	if c.CatalogSyncInterval < 0 || c.CatalogSyncInterval > 0 && c.CatalogSyncInterval < 10*time.Second {
		return fmt.Errorf("catalog-sync-interval is %s; 0 or at least 10s", c.CatalogSyncInterval)
	}
	if c.CatalogShowNewest < 1 || c.CatalogShowNewest > 1000 {
		return fmt.Errorf("catalog-show-newest is %d; 1 to 1000", c.CatalogShowNewest)
	}
	return nil
}

// setUp has the backups' records kept in the catalog, and those of others shown. It
// gives the catalog's place, nil where there is none.
func (c config) setUpCatalog(mgr ctrl.Manager, direct client.Client, backups *snapshot.Reconciler) (*offsite.Place, error) {
	shown := &offsite.Sync{Client: direct, Records: backups.Records, Interval: c.CatalogSyncInterval, Newest: c.CatalogShowNewest}
	if c.CatalogURL == "" {
		shown.Interval = 24 * time.Hour // it removes what an earlier catalog left
		return nil, mgr.Add(shown)
	}
	place := &offsite.Place{URL: c.CatalogURL, Now: now}
	backups.Catalog = &offsite.Keeper{Place: place, Records: backups.Records, Events: backups.Events, Now: now,
		Cluster: c.cluster(direct), Writer: bucket.Writer{Program: version, Recipients: c.CatalogRecipients}}
	if c.CatalogSyncInterval == 0 {
		return place, nil
	}
	shown.Place = place
	return place, mgr.Add(shown)
}
