// Package podexec runs a command in a container of a pod and waits for its end.
// In: where, the command and its input. Out: its output, or why it failed, with the last
// that it wrote to its error output.
package podexec

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// Runner runs commands.
type Runner struct {
	Config *rest.Config
	Client kubernetes.Interface
}

// Run runs a command.
func (r Runner) Run(ctx context.Context, namespace, pod, container string, command []string, stdin io.Reader, stdout io.Writer) error {
	url := r.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	websocket, err := remotecommand.NewWebSocketExecutor(r.Config, "GET", url.String())
	if err != nil {
		return fmt.Errorf("exec into pod %s/%s: %w", namespace, pod, err)
	}
	var stderr Tail
	if err := websocket.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &stderr}); err != nil {
		if said := stderr.String(); said != "" {
			return fmt.Errorf("exec in pod %s/%s: %s: %w", namespace, pod, said, err)
		}
		return fmt.Errorf("exec in pod %s/%s: %w", namespace, pod, err)
	}
	return nil
}
