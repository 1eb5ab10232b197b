package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/snapshot/await"
)

// Tool is a running pod of cht-tools.
type Tool struct {
	Namespace, Pod string
	c              *Cluster
	cancel         context.CancelFunc
	ended          chan struct{} // the log has ended
	logErr         error
}

// RunTool starts `cht-tools ARGS` in a pod, with the credentials and servers of the
// CHT in that namespace, and hands each line of its log to line as it comes, from
// one goroutine. It returns when the pod runs.
func (c *Cluster) RunTool(ctx context.Context, namespace string, line func([]byte), args ...string) (*Tool, error) {
	pod := cht.ToolPod(namespace, "tool-"+args[0]+"-"+rand.String(5), c.Images.Tools, args...)
	if err := c.Client.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("start %v in %s: %w", args, namespace, err)
	}
	follow, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &Tool{Namespace: namespace, Pod: pod.Name, c: c, cancel: cancel, ended: make(chan struct{})}
	log, err := t.open(ctx, follow)
	if err != nil {
		t.Remove(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("start %v in %s: %w", args, namespace, err)
	}
	go func() {
		defer close(t.ended)
		defer func() { _ = log.Close() }()
		lines := bufio.NewReader(log)
		for {
			text, err := lines.ReadBytes('\n')
			if len(text) > 0 && line != nil {
				line(bytes.TrimSpace(text))
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.logErr = err
				}
				return
			}
		}
	}()
	return t, nil
}

// open waits until the container has started, and follows its log.
func (t *Tool) open(ctx, follow context.Context) (io.ReadCloser, error) {
	if _, err := t.wait(ctx, func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending }); err != nil {
		return nil, err
	}
	return t.c.Kube.CoreV1().Pods(t.Namespace).GetLogs(t.Pod, &corev1.PodLogOptions{Follow: true}).Stream(follow)
}

// wait watches the pod until it is as wanted. A pod that cannot start is an error.
func (t *Tool) wait(ctx context.Context, done func(*corev1.Pod) bool) (*corev1.Pod, error) {
	var pods corev1.PodList
	var found *corev1.Pod
	err := await.List(ctx, t.c.Client, &pods, func() (string, error) {
		if len(pods.Items) == 0 {
			return "", fmt.Errorf("pod %s/%s is gone", t.Namespace, t.Pod)
		}
		if found = &pods.Items[0]; done(found) {
			return "", nil
		}
		for _, s := range found.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" {
				return "", fmt.Errorf("pod %s/%s cannot start: %s %s", t.Namespace, t.Pod, w.Reason, w.Message)
			}
		}
		return fmt.Sprintf("pod %s/%s (%s)", t.Namespace, t.Pod, found.Status.Phase), nil
	}, client.InNamespace(t.Namespace), client.MatchingFields{"metadata.name": t.Pod})
	return found, err
}

// Stop asks the tool to end, waits for its last line and removes the pod.
func (t *Tool) Stop(ctx context.Context) error {
	_, err := t.c.Exec(ctx, t.Namespace, t.Pod, "/cht-tools", "stop")
	if code := (utilexec.CodeExitError{}); errors.As(err, &code) && code.Code == killed {
		err = nil // the tool ended sooner than the command that asked it, and the container with it
	}
	if err != nil {
		t.Remove(context.WithoutCancel(ctx))
		return err
	}
	return t.Wait(ctx)
}

// killed is the exit status of a process that SIGKILL ended.
const killed = 128 + 9

// Wait waits until the tool has ended by itself and its log was read, and removes
// the pod. A tool that failed is an error.
func (t *Tool) Wait(ctx context.Context) error {
	defer t.Remove(context.WithoutCancel(ctx))
	pod, err := t.wait(ctx, func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
	if err != nil {
		return err
	}
	select {
	case <-t.ended:
	case <-ctx.Done():
		return fmt.Errorf("read the log of %s/%s: %w", t.Namespace, t.Pod, ctx.Err())
	}
	if pod.Status.Phase == corev1.PodFailed {
		text, _ := t.c.Kube.CoreV1().Pods(t.Namespace).GetLogs(t.Pod, &corev1.PodLogOptions{TailLines: new(int64(5))}).DoRaw(ctx)
		return fmt.Errorf("pod %s/%s failed: %s", t.Namespace, t.Pod, text)
	}
	return t.logErr
}

// Remove deletes the pod, whatever it does.
func (t *Tool) Remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	t.cancel()
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = t.Namespace, t.Pod
	if err := t.c.Client.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
		t.c.logf("delete pod %s/%s: %v", t.Namespace, t.Pod, err)
	}
}

// Exec runs a command in a pod's first container and gives what it printed.
func (c *Cluster) Exec(ctx context.Context, namespace, pod string, command ...string) (string, error) {
	var out bytes.Buffer
	err := c.ExecTo(ctx, namespace, pod, &out, command...)
	return out.String(), err
}

// ExecTo is Exec with the output streamed: a log would be cut off by its rotation.
func (c *Cluster) ExecTo(ctx context.Context, namespace, pod string, out io.Writer, command ...string) error {
	url := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", url.String())
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: &stderr}); err != nil {
		return fmt.Errorf("%v in pod %s/%s: %w: %s", command, namespace, pod, err, tail(stderr.String(), 1000))
	}
	return nil
}

// toolbox is a pod of cht-tools that does nothing, to exec in. It stays until its
// namespace goes.
func (c *Cluster) toolbox(ctx context.Context, namespace string) (string, error) {
	pod := cht.ToolPod(namespace, "toolbox", c.Images.Tools, "idle")
	if err := c.Client.Create(ctx, pod); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("start a toolbox in %s: %w", namespace, err)
	}
	t := &Tool{Namespace: namespace, Pod: pod.Name, c: c}
	_, err := t.wait(ctx, ready)
	return pod.Name, err
}

// ExecTool runs `cht-tools ARGS` beside the CHT of a namespace and gives its output.
func (c *Cluster) ExecTool(ctx context.Context, namespace string, args ...string) (string, error) {
	pod, err := c.toolbox(ctx, namespace)
	if err != nil {
		return "", err
	}
	return c.Exec(ctx, namespace, pod, append([]string{"/cht-tools"}, args...)...)
}

// Dump reads id and revision of every document through HAProxy, or through url
// where it is not empty, and of the local documents named.
func (c *Cluster) Dump(ctx context.Context, namespace, url, locals string) (*load.Dump, error) {
	pod, err := c.toolbox(ctx, namespace)
	if err != nil {
		return nil, err
	}
	command := []string{"/cht-tools", "dump", "--locals", locals}
	if url != "" {
		command = append(command, "--url", url)
	}
	read, write := io.Pipe()
	go func() { _ = write.CloseWithError(c.ExecTo(ctx, namespace, pod, write, command...)) }() // the error is the reader's
	dump, err := load.ReadDump(read)
	rest, restErr := io.Copy(io.Discard, read)
	if err == nil && (restErr != nil || rest > 0) {
		err = errors.Join(restErr, fmt.Errorf("%d bytes after the dump's end", rest))
	}
	if err != nil {
		return nil, fmt.Errorf("dump the CHT in %s: %w", namespace, errors.Join(err, restErr))
	}
	return dump, nil
}

// Load is a running writer or causal writer, and what it has said.
type Load struct {
	Tool *Tool

	mu      sync.Mutex
	writes  []load.Write
	pairs   []load.Pair
	summary *load.Summary
	strange []string
	started chan struct{}
}

// StartLoad starts `cht-tools TOOL ARGS` (writer or causal) and returns when it is
// about to send its first request.
func (c *Cluster) StartLoad(ctx context.Context, namespace, tool string, args ...string) (*Load, error) {
	l := &Load{started: make(chan struct{})}
	var err error
	if l.Tool, err = c.RunTool(ctx, namespace, l.take, append([]string{tool}, args...)...); err != nil {
		return nil, err
	}
	select {
	case <-l.started:
		return l, nil
	case <-l.Tool.ended:
		return nil, errors.Join(fmt.Errorf("%s in %s ended before it began", tool, namespace), l.Tool.Wait(ctx))
	case <-ctx.Done():
		l.Tool.Remove(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("start %s in %s: %w", tool, namespace, ctx.Err())
	}
}

func (l *Load) take(text []byte) {
	var line load.Line
	err := json.Unmarshal(text, &line)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.strange = append(l.strange, string(text))
	case line.Kind == load.KindStart:
		close(l.started)
	case line.Write != nil:
		l.writes = append(l.writes, *line.Write)
	case line.Pair != nil:
		l.pairs = append(l.pairs, *line.Pair)
	case line.Summary != nil:
		l.summary = line.Summary
	}
}

// Writes are those answered so far; of pairs, both writes of each.
func (l *Load) Writes() []load.Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append([]load.Write(nil), l.writes...)
	for _, p := range l.pairs {
		if all = append(all, p.A); p.B != nil {
			all = append(all, *p.B)
		}
	}
	return all
}

// Pairs are those complete so far.
func (l *Load) Pairs() []load.Pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]load.Pair(nil), l.pairs...)
}

// Stop ends the load and gives its summary. A log with lines missing is an error:
// an acknowledged write that nobody knows of could be lost unseen.
func (l *Load) Stop(ctx context.Context) (load.Summary, error) { return l.end(l.Tool.Stop(ctx)) }

// Wait waits for a load that was given a count or a duration, like Stop.
func (l *Load) Wait(ctx context.Context) (load.Summary, error) { return l.end(l.Tool.Wait(ctx)) }

func (l *Load) end(err error) (load.Summary, error) {
	n := int64(len(l.Writes()))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case len(l.strange) > 0:
		err = fmt.Errorf("%s/%s printed %q", l.Tool.Namespace, l.Tool.Pod, l.strange[0])
	case l.summary == nil:
		err = fmt.Errorf("the log of %s/%s has no end", l.Tool.Namespace, l.Tool.Pod)
	case l.summary.Sent != n:
		err = fmt.Errorf("the log of %s/%s has %d writes of %d", l.Tool.Namespace, l.Tool.Pod, n, l.summary.Sent)
	}
	if l.summary == nil {
		return load.Summary{}, err
	}
	return *l.summary, err
}
