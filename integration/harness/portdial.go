package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/podport"
)

// Transport reaches Services by their names (couchdb-1.ns.svc.cluster.local:5984)
// from outside the cluster, through the API server: it works on any cluster, and
// none of its packets look like the CHT's own.
func (c *Cluster) Transport() http.RoundTripper {
	return &http.Transport{DialContext: c.dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: 20 * time.Second}
}

// TLSTransport is Transport for https.
func (c *Cluster) TLSTransport(config *tls.Config) http.RoundTripper {
	return &http.Transport{DialContext: c.dial, TLSClientConfig: config, IdleConnTimeout: 20 * time.Second}
}

func (c *Cluster) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	labels := strings.Split(host, ".")
	if len(labels) < 3 || labels[2] != "svc" {
		return nil, fmt.Errorf("dial %s: not the name of a Service", host)
	}
	pod, target, err := c.backend(ctx, labels[1], labels[0], port)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return podport.Dialer{Config: c.Config, Client: c.Kube}.Dial(ctx, labels[1], pod, target)
}

// backend finds a ready pod behind a Service, and its port.
func (c *Cluster) backend(ctx context.Context, namespace, service, port string) (string, string, error) {
	var s corev1.Service
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: service}, &s); err != nil {
		return "", "", err
	}
	target := ""
	for _, p := range s.Spec.Ports {
		if strconv.Itoa(int(p.Port)) == port {
			target = strconv.Itoa(p.TargetPort.IntValue())
		}
	}
	if target == "" {
		return "", "", fmt.Errorf("service %s/%s has no port %s", namespace, service, port)
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels(s.Spec.Selector)); err != nil {
		return "", "", err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil && ready(&pods.Items[i]) {
			return pods.Items[i].Name, target, nil
		}
	}
	return "", "", fmt.Errorf("no ready pod behind service %s/%s", namespace, service)
}

func ready(p *corev1.Pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
