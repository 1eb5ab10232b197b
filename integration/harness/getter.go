package harness

import (
	"fmt"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/medic/cht-backup/integration/chart"
)

// getter gives Helm its clients. What the cluster can do is remembered in memory: the
// cache on disk that the command uses goes by the cluster's address, and the testbed
// is made anew under the same.
type getter struct {
	config    *rest.Config
	namespace string
	known     discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

func newGetter(config *rest.Config, namespace string) (*getter, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	known := memory.NewMemCacheClient(client)
	return &getter{config: config, namespace: namespace, known: known, mapper: restmapper.NewDeferredDiscoveryRESTMapper(known)}, nil
}

func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) { return g.known, nil }

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader is asked for the namespace only.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}

// namespacesOf are those that a release has objects in.
func namespacesOf(own string, rel *release.Release) []string {
	all := []string{own}
	if rel == nil {
		return all
	}
	objects, err := chart.Decode(nil, "release "+rel.Name, rel.Manifest)
	if err != nil {
		return all // what cannot be read has been said by Helm
	}
	seen := map[string]bool{"": true, own: true}
	for _, o := range objects {
		if !seen[o.GetNamespace()] {
			seen[o.GetNamespace()] = true
			all = append(all, o.GetNamespace())
		}
	}
	return all
}
