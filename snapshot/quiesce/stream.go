package quiesce

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/medic/cht-backup/snapshot/podexec"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// Execer opens exec streams into containers.
type Execer struct {
	Config *rest.Config
	Client kubernetes.Interface
}

// Target is the container in which a node is held.
type Target struct {
	// Node is named in errors.
	Node                      string
	Namespace, Pod, Container string
	Command                   []string
}

//go:embed pause.sh
var pauseScript string

// PauseCommand holds the CouchDB of the container it is run in by SIGSTOP.
func PauseCommand(maxStall time.Duration) []string {
	bound := NodeBound(min(maxStall, PauseBound))
	return []string{"sh", "-c", pauseScript, "cht-pause", fmt.Sprintf("%.3f", bound.Seconds())}
}

// FreezeCommand holds the volume of the freezer container it is run in.
func FreezeCommand(maxStall time.Duration) []string {
	return []string{"/cht-backup", "freezer", "hold", "--max-stall", NodeBound(maxStall).String()}
}

// OpenAll opens a stream to each target and waits until each is ready, or
// closes them all again. The streams end with ctx.
func (e Execer) OpenAll(ctx context.Context, targets []Target, readyWithin time.Duration) ([]*Stream, error) {
	streams := make([]*Stream, len(targets))
	for i, t := range targets {
		var err error
		if streams[i], err = e.open(ctx, t); err != nil {
			CloseAll(streams[:i])
			return nil, err
		}
	}
	wait, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	err := each(streams, func(s *Stream) error {
		_, err := s.next(wait, protocol.Ready)
		return err
	})
	if err != nil {
		CloseAll(streams)
		return nil, err
	}
	return streams, nil
}

// CloseAll closes streams; closing twice does no harm.
func CloseAll(streams []*Stream) {
	for _, s := range streams {
		s.Close()
	}
}

func (e Execer) open(ctx context.Context, t Target) (*Stream, error) {
	url := e.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(t.Namespace).Name(t.Pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: t.Container, Command: t.Command, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	websocket, err := remotecommand.NewWebSocketExecutor(e.Config, "GET", url.String())
	if err != nil {
		return nil, fmt.Errorf("%s: exec into pod %s/%s: %w", t.Node, t.Namespace, t.Pod, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	var stderr podexec.Tail
	var failure error
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		failure = websocket.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &stderr})
		_ = stdout.Close()
		_ = input.Close() // a write after the end fails instead of hanging
	}()
	return &Stream{
		node:     t.Node,
		messages: decode(output),
		send: func(command string) error {
			_, err := fmt.Fprintln(input, command)
			return err
		},
		ended: func() error {
			select {
			case <-finished:
			case <-time.After(time.Second):
				return nil
			}
			if text := stderr.String(); text != "" {
				return fmt.Errorf("exec in pod %s/%s ended: %s", t.Namespace, t.Pod, text)
			}
			if failure != nil {
				return fmt.Errorf("exec in pod %s/%s ended: %w", t.Namespace, t.Pod, failure)
			}
			return fmt.Errorf("exec in pod %s/%s ended", t.Namespace, t.Pod)
		},
		close: sync.OnceFunc(func() {
			_ = input.Close() // end of input: the node releases by itself
			select {
			case <-finished:
			case <-time.After(time.Second):
			}
			cancel()
			_ = output.Close()
		}),
	}, nil
}

// Talk makes a stream of a conversation that is no exec: for benchmarks of what lies
// around a hold, whose nodes hold nothing. The node has to say that it is ready.
func Talk(ctx context.Context, node string, input io.WriteCloser, output io.ReadCloser) (*Stream, error) {
	s := &Stream{
		node:     node,
		messages: decode(output),
		send: func(command string) error {
			_, err := fmt.Fprintln(input, command)
			return err
		},
		ended: func() error { return nil },
		close: sync.OnceFunc(func() { _ = input.Close(); _ = output.Close() }),
	}
	if _, err := s.next(ctx, protocol.Ready); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// decode turns lines into messages until the input ends. What is not a message
// (a shell's complaint, say) is passed over.
func decode(r io.Reader) <-chan protocol.Message {
	c := make(chan protocol.Message, 4) // as many as one hold ever sends
	go pump(r, c)
	return c
}

func pump(r io.Reader, c chan<- protocol.Message) {
	defer close(c)
	for s := bufio.NewScanner(r); s.Scan(); {
		var m protocol.Message
		if json.Unmarshal(s.Bytes(), &m) != nil || m.State == "" {
			continue
		}
		select {
		case c <- m:
		default:
			return // nothing of ours says so much, and nobody may be reading any more
		}
	}
}
