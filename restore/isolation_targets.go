package restore

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	// A probe's report must fit into a termination message, of 4096 bytes.
	mostSources    = 16
	mostAPIServers = 6
	// mapperPort is Erlang's port mapper: by it, nodes that know each other's names
	// find each other.
	mapperPort = 4369
)

// isolationTargets are the addresses that the probes of a clone try.
type isolationTargets struct {
	all []probe.Target
	// apiServers are the hosts behind the Service of the Kubernetes API.
	apiServers []string
}

func (r *Reconciler) isolationTargets(ctx context.Context, w *work) (isolationTargets, error) {
	own, err := r.ownTarget(ctx, w.restore.Namespace)
	if err != nil {
		return isolationTargets{}, err
	}
	t := isolationTargets{all: []probe.Target{own}}
	if w.record.Namespace != w.restore.Namespace {
		addresses, err := r.sourceAddresses(ctx, w.record.Namespace)
		if err != nil {
			return t, err
		}
		t.add(api.TargetSource, addresses, mostSources)
	}
	addresses, hosts, err := r.apiAddresses(ctx)
	if err != nil {
		return t, err
	}
	t.apiServers = hosts
	t.add(api.TargetAPIServer, addresses, mostAPIServers)
	t.add(api.TargetOutside, r.Outside, len(r.Outside))
	return t, nil
}

func (t *isolationTargets) add(kind api.TargetKind, addresses []string, most int) {
	for _, a := range addresses[:min(most, len(addresses))] {
		if one := (probe.Target{Kind: kind, Address: a}); !slices.Contains(t.all, one) {
			t.all = append(t.all, one)
		}
	}
}

func hostPort(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// ownTarget is a CouchDB of the clone.
func (r *Reconciler) ownTarget(ctx context.Context, namespace string) (probe.Target, error) {
	pods, err := r.couchPods(ctx, namespace)
	if err != nil {
		return probe.Target{}, err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return cht.Ready(&p) })
	if i < 0 {
		return probe.Target{}, notYet{fmt.Errorf("no CouchDB of %s is ready to be reached by the isolation probes", namespace)}
	}
	return probe.Target{Kind: api.TargetOwn, Address: hostPort(pods[i].Status.PodIP, cht.Port)}, nil
}

// couchPods are a namespace's CouchDB pods that have an address.
func (r *Reconciler) couchPods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := paged.All(ctx, r.Client, &pods, client.InNamespace(namespace), client.HasLabels{cht.ServiceLabel}); err != nil {
		return nil, fmt.Errorf("list CouchDB pods of %s: %w", namespace, err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
		return !cht.IsCouchDB(p.Labels[cht.ServiceLabel]) || p.Status.PodIP == "" || p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning
	}), nil
}

// sourceAddresses are those of the instance that was backed up, if it is in this
// cluster: what matters most first, since there is no room for all of many nodes.
func (r *Reconciler) sourceAddresses(ctx context.Context, namespace string) ([]string, error) {
	pods, err := r.couchPods(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var services corev1.ServiceList
	if err := paged.All(ctx, r.Client, &services, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list Services of %s: %w", namespace, err)
	}
	var http, behind, mappers []string
	for _, p := range pods {
		for _, ip := range p.Status.PodIPs {
			http, mappers = append(http, hostPort(ip.IP, cht.Port)), append(mappers, hostPort(ip.IP, mapperPort))
		}
	}
	for _, s := range services.Items {
		if c := s.Spec.Selector[cht.ServiceLabel]; !cht.IsCouchDB(c) && c != "haproxy" {
			continue
		}
		for _, ip := range clusterIPs(s) {
			behind = append(behind, hostPort(ip, cht.Port))
		}
	}
	return slices.Concat(http, behind, mappers), nil
}

// clusterIPs are a Service's addresses; a headless one has none.
func clusterIPs(s corev1.Service) []string {
	return slices.DeleteFunc(slices.Clone(s.Spec.ClusterIPs), func(ip string) bool { return ip == corev1.ClusterIPNone || ip == "" })
}

// apiAddresses are those of the Kubernetes API, by its Service and by its servers,
// and the servers' hosts.
func (r *Reconciler) apiAddresses(ctx context.Context) (addresses, hosts []string, err error) {
	const name = "kubernetes"
	var service corev1.Service
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, &service); client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("get Service %s/%s: %w", metav1.NamespaceDefault, name, err)
	}
	for _, port := range service.Spec.Ports {
		for _, ip := range clusterIPs(service) {
			addresses = append(addresses, hostPort(ip, port.Port))
		}
	}
	var slicesOf discoveryv1.EndpointSliceList
	if err := r.Client.List(ctx, &slicesOf, client.InNamespace(metav1.NamespaceDefault), client.MatchingLabels{discoveryv1.LabelServiceName: name}); err != nil {
		return nil, nil, fmt.Errorf("list the addresses of the Kubernetes API: %w", err)
	}
	for _, slice := range slicesOf.Items {
		for _, endpoint := range slice.Endpoints {
			hosts = append(hosts, endpoint.Addresses...)
			for _, port := range slice.Ports {
				for _, ip := range endpoint.Addresses {
					if port.Port != nil {
						addresses = append(addresses, hostPort(ip, *port.Port))
					}
				}
			}
		}
	}
	return addresses, hosts, nil
}
