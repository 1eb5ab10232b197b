package main

import (
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/offsite"
)

// setUpCheckup has the controller look at itself. Its many small questions have a slow
// limiter of their own: no backup waits behind them.
func (c config) setUpCheckup(mgr ctrl.Manager, kube *rest.Config, backups *snapshot.Reconciler) error {
	slow := rest.CopyConfig(kube)
	slow.QPS, slow.Burst = 10, 20
	slow.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(slow.QPS, slow.Burst)
	own, err := client.New(slow, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return err
	}
	l := &checkup.Looker{Client: own, Config: slow, Version: version, Image: c.Image, Namespace: c.Namespace, Name: c.CheckupName,
		Recipients: len(c.CatalogRecipients), Cluster: c.cluster(own), Now: time.Now}
	if keeper, is := backups.Catalog.(*offsite.Keeper); is {
		l.Catalog = keeper.Place
	}
	return mgr.Add(l)
}
