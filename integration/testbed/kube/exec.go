package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/websocket"
)

// Exec runs a command in a pod's only container and returns what it wrote. An
// exit code other than 0 is an error that holds the output.
func (c *Client) Exec(ctx context.Context, namespace, pod string, command ...string) (string, error) {
	query := url.Values{"stdout": {"true"}, "stderr": {"true"}, "command": command}
	target := strings.Replace(c.server, "https://", "wss://", 1) +
		"/api/v1/namespaces/" + namespace + "/pods/" + pod + "/exec?" + query.Encode()
	config, err := websocket.NewConfig(target, c.server)
	if err != nil {
		return "", err
	}
	config.TlsConfig, config.Protocol = c.tls.Clone(), []string{"v4.channel.k8s.io"}
	ws, err := config.DialContext(ctx)
	if err != nil {
		return "", fmt.Errorf("exec in %s/%s: %w", namespace, pod, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer stop()
	defer func() { _ = ws.Close() }()
	var out strings.Builder
	for {
		var frame []byte
		err := websocket.Message.Receive(ws, &frame)
		switch {
		case errors.Is(err, io.EOF):
			return out.String(), fmt.Errorf("exec %v in %s/%s: the stream ended without a status", command, namespace, pod)
		case err != nil:
			return out.String(), fmt.Errorf("exec %v in %s/%s: %w", command, namespace, pod, errors.Join(ctx.Err(), err))
		case len(frame) < 2:
		case frame[0] == 3: // the channel of the final status
			var st Object
			if err := json.Unmarshal(frame[1:], &st); err != nil {
				return out.String(), err
			}
			if st.Text("status") != "Success" {
				return out.String(), fmt.Errorf("exec %v in %s/%s: %s: %s", command, namespace, pod, st.Text("message"), strings.TrimSpace(out.String()))
			}
			return out.String(), nil
		default:
			out.Write(frame[1:])
		}
	}
}
