package main

import (
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/offsite"
	"github.com/medic/cht-backup/snapshot/served"
)

// setUpCheckup has the controller look at itself. Its many small questions have a slow
// limiter of their own: no backup waits behind them.
func (c config) setUpCheckup(mgr ctrl.Manager, kube *rest.Config, backups *snapshot.Reconciler, namespaces *served.Namespaces) error {
	slow := limited(kube, 10)
	own, err := c.client(slow, mgr.GetScheme())
	if err != nil {
		return err
	}
	l := &checkup.Looker{Client: own, Config: slow, Version: version, Image: c.Image, Namespace: c.Namespace, Name: c.CheckupName,
		Recipients: len(c.CatalogRecipients), Cluster: c.cluster(own), Namespaces: c.Namespaces, Narrow: c.narrow(), Serves: namespaces.Serves, Now: time.Now}
	if keeper, is := backups.Catalog.(*offsite.Keeper); is {
		l.Catalog = keeper.Place
	}
	return mgr.Add(l)
}
