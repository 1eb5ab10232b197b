package command

import (
	"context"
	"io"
	"net/http"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/extract"
	"github.com/medic/cht-backup/snapshot/podexec"
	"github.com/medic/cht-backup/snapshot/podport"
)

// reachingPods is extract.Pods by the API server.
type reachingPods struct {
	runner podexec.Runner
	dialer podport.Dialer
}

// Exec implements extract.Pods.
func (p reachingPods) Exec(ctx context.Context, namespace, pod, container string, command []string, stdin io.Reader, stdout io.Writer) error {
	return p.runner.Run(ctx, namespace, pod, container, command, stdin, stdout)
}

// Transport implements extract.Pods.
func (p reachingPods) Transport(namespace, pod, port string) http.RoundTripper {
	return p.dialer.Transport(namespace, pod, port)
}

func podsOf(config *rest.Config) (extract.Pods, error) {
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return reachingPods{runner: podexec.Runner{Config: config, Client: c}, dialer: podport.Dialer{Config: config, Client: c}}, nil
}
