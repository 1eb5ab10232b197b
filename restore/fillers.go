package restore

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"

	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/podexec"
)

// PodFillers reaches fillers by their pods' addresses, once an exec stream into them has
// told both ends whom they speak to.
type PodFillers struct{ Exec podexec.Runner }

// Connect implements Fillers.
func (f PodFillers) Connect(ctx context.Context, pod *corev1.Pod, container string) (transfer.Sink, func(), error) {
	filler, err := link.DialFiller(ctx, link.Peer{
		Name: fmt.Sprintf("%s/%s", pod.Namespace, pod.Name), IP: pod.Status.PodIP,
		Exec: func(ctx context.Context, command []string, stdin io.Reader, stdout io.Writer) error {
			return f.Exec.Run(ctx, pod.Namespace, pod.Name, container, command, stdin, stdout)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return filler, filler.Close, nil
}
