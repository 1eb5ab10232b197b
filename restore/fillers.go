package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/transfer"
)

// PodFillers reaches fillers by their pods' addresses, once an exec stream into them has
// told both ends whom they speak to.
type PodFillers struct {
	Config *rest.Config
	Client kubernetes.Interface
}

// Connect implements Fillers.
func (f PodFillers) Connect(ctx context.Context, pod *corev1.Pod, container string) (transfer.Sink, func(), error) {
	filler, err := link.DialFiller(ctx, link.Peer{
		Name: fmt.Sprintf("%s/%s", pod.Namespace, pod.Name), IP: pod.Status.PodIP,
		Exec: func(ctx context.Context, command []string, stdin io.Reader, stdout io.Writer) error {
			return f.exec(ctx, pod, container, command, stdin, stdout)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return filler, filler.Close, nil
}

// exec runs a command in a container until it ends.
func (f PodFillers) exec(ctx context.Context, pod *corev1.Pod, container string, command []string, stdin io.Reader, stdout io.Writer) error {
	url := f.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	websocket, err := remotecommand.NewWebSocketExecutor(f.Config, "GET", url.String())
	if err != nil {
		return fmt.Errorf("exec into pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	var said bytes.Buffer
	if err := websocket.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &said}); err != nil {
		return fmt.Errorf("exec into pod %s/%s: %w %s", pod.Namespace, pod.Name, err, strings.TrimSpace(said.String()))
	}
	return nil
}
