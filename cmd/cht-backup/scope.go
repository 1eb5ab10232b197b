package main

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/served"
)

// Where a controller has its rights.
const (
	scopeCluster    = "Cluster"
	scopeNamespaced = "Namespaced"
)

func (c config) narrow() bool { return c.RBACScope == scopeNamespaced }

func (c config) checkScope() error {
	if wrong := validation.IsDNS1123Subdomain(c.Name); len(wrong) > 0 {
		return fmt.Errorf("name %q names no Lease: %s", c.Name, wrong[0])
	}
	for _, n := range c.Namespaces {
		if wrong := validation.IsDNS1123Label(n); len(wrong) > 0 {
			return fmt.Errorf("namespaces: %q is no name of a namespace: %s", n, wrong[0])
		}
	}
	switch {
	case c.RBACScope != scopeCluster && !c.narrow():
		return fmt.Errorf("rbac-scope is %q, neither %s nor %s", c.RBACScope, scopeCluster, scopeNamespaced)
	case c.narrow() && len(c.Namespaces) == 0:
		return fmt.Errorf("rbac-scope is %s and namespaces is empty: list those in which the controller has its rights", scopeNamespaced)
	}
	return nil
}

// cached says what the controller watches. One that has rights in some namespaces
// watches those. One that is for some and has rights in all watches all, and turns away
// what is not its business: the scratch namespaces of its drills come and go.
func (c config) cached(snapshots bool) cache.Options {
	o := snapshot.CacheOptions(snapshots)
	if c.narrow() {
		o.NewInformer = served.Informer
		o.DefaultNamespaces = map[string]cache.Config{c.Namespace: {}}
		for _, n := range c.Namespaces {
			o.DefaultNamespaces[n] = cache.Config{}
		}
	}
	// Of thousands of Leases those that say who serves a namespace.
	o.ByObject[&coordinationv1.Lease{}] = cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", served.LeaseName)}
	return o
}

// client asks the API server, each time.
func (c config) client(kube *rest.Config, scheme *runtime.Scheme) (client.WithWatch, error) {
	direct, err := client.NewWithWatch(kube, client.Options{Scheme: scheme})
	if err != nil || !c.narrow() {
		return direct, err
	}
	// Whom pods ask for names is read in kube-system.
	return served.Narrow{WithWatch: direct, Namespaces: append([]string{c.Namespace}, c.Namespaces...), More: map[string][]string{"Service": {"kube-system"}}}, nil
}

// setUpServed has the controller keep to its namespaces. Its Leases are asked for as the
// leader's is: no busy night may cost them.
func (c config) setUpServed(mgr ctrl.Manager, lease *rest.Config) (*served.Namespaces, error) {
	own, err := client.New(lease, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return nil, err
	}
	namespaces := served.New(own, c.Namespace, c.Name, c.Namespaces, time.Now)
	return namespaces, mgr.Add(served.Runner{Namespaces: namespaces, Leases: mgr.GetCache()})
}
