// Package podport connects to a port of a pod through the API server, so that the pod
// needs no Service and may listen on its own loopback address alone.
// In: the pod and the port. Out: a connection; one session of the API server for each.
package podport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
)

// Dialer connects.
type Dialer struct {
	Config *rest.Config
	Client kubernetes.Interface
}

// Dial connects to a port of a pod. The connection keeps no deadlines: what is sent
// through it is bounded by contexts.
func (d Dialer) Dial(ctx context.Context, namespace, pod, port string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	url := d.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, d.Config)
	if err != nil {
		return nil, fmt.Errorf("connect to port %s of pod %s/%s: %w", port, namespace, pod, err)
	}
	session, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("connect to port %s of pod %s/%s: %w", port, namespace, pod, err)
	}
	conn, err := open(session, port)
	if err != nil {
		_ = session.Close()
		return nil, fmt.Errorf("connect to port %s of pod %s/%s: %w", port, namespace, pod, err)
	}
	return conn, nil
}

// Transport has every request, whatever its host, answered by a port of the pod.
func (d Dialer) Transport(namespace, pod, port string) *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 20 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx, namespace, pod, port) }}
}

func open(session httpstream.Connection, port string) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, port)
	headers.Set(corev1.PortForwardRequestIDHeader, "0") // one connection a session
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := session.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = failures.Close() // our half: nothing is sent on it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := session.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	go func() {
		text, _ := io.ReadAll(failures) // its end is the session's
		if len(text) > 0 {
			_ = session.Close()
		}
	}()
	return &conn{Stream: data, session: session}, nil
}

// conn is a stream of a port-forward as a connection.
type conn struct {
	httpstream.Stream
	session httpstream.Connection
}

func (c *conn) Close() error                     { return errors.Join(c.Reset(), c.session.Close()) }
func (c *conn) LocalAddr() net.Addr              { return addr{} }
func (c *conn) RemoteAddr() net.Addr             { return addr{} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

type addr struct{}

func (addr) Network() string { return "port-forward" }
func (addr) String() string  { return "pod" }
