package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Sockets are where engines listen, in the order in which they are tried.
var Sockets = []string{"/var/run/docker.sock", "/run/podman/podman.sock"}

const (
	// version of the API that has all that is asked for. Engines take an older one.
	version = "v1.40"
	// maxAnswer bounds an answer in bytes.
	maxAnswer = 16 << 20
	// patience bounds one call.
	patience = 30 * time.Second
)

// Labels that Compose puts on containers.
const (
	projectLabel = "com.docker.compose.project"
	serviceLabel = "com.docker.compose.service"
	volumeLabel  = "com.docker.compose.volume"
	dirLabel     = "com.docker.compose.project.working_dir"
)

// ErrNone is the answer where no engine listens.
var ErrNone = errors.New("no container engine listens here")

// Client talks to one engine.
type Client struct {
	socket string
	http   *http.Client
}

// Find gives the engine at a socket, or with "" the first that is there.
func Find(socket string) (*Client, error) {
	candidates := Sockets
	if host, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok {
		candidates = []string{host}
	}
	if socket != "" {
		candidates = []string{strings.TrimPrefix(socket, "unix://")}
	}
	for _, path := range candidates {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the engine's socket: %w", err)
		}
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is no socket; name the engine's with --engine", path)
		}
		return New(path), nil
	}
	return nil, fmt.Errorf("%w (looked for %s)", ErrNone, strings.Join(candidates, ", "))
}

// New talks to the engine at a socket.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial}}}
}

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://engine/"+version+path+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("the engine at %s lets only root and its group in; run this as root: %w", c.socket, err)
	}
	if err != nil {
		return fmt.Errorf("the engine at %s: %w", c.socket, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the engine at %s: %s %s: %w", c.socket, method, path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		var said struct{ Message string }
		_ = json.Unmarshal(answer, &said) // the status says it, too
		return fmt.Errorf("the engine at %s: %s %s: HTTP %d %s", c.socket, method, path, resp.StatusCode, said.Message)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the engine at %s: %s %s: decode: %w", c.socket, method, path, err)
	}
	return nil
}

// Container is one of a project's.
type Container struct {
	ID, Service string
	// Dir is where Compose ran, as that knew it.
	Dir string
	// PID of its first process, as this machine sees it; 0 when it does not run.
	PID int
	// Image as it was asked for, Digest with the digest the engine knows it by, "" where it
	// was built here.
	Image, Digest string
	Environment   map[string]string
	Mounts        []Mount
}

// Mount is a directory of the host in a container.
type Mount struct {
	// Source on the host, Target in the container. Volume is the name of a named volume.
	Source, Target, Volume string
}

// summary is what a list tells.
type summary struct {
	ID     string `json:"Id"`
	Labels map[string]string
}

func (c *Client) list(ctx context.Context, label string) ([]summary, error) {
	filter, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		return nil, err
	}
	var all []summary
	return all, c.call(ctx, http.MethodGet, "/containers/json", url.Values{"filters": {string(filter)}}, nil, &all)
}

// Projects names the Compose projects that have containers running.
func (c *Client) Projects(ctx context.Context) ([]string, error) {
	all, err := c.list(ctx, projectLabel)
	var names []string
	seen := map[string]bool{}
	for _, s := range all {
		if name := s.Labels[projectLabel]; !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, err
}

// Containers gives the running containers of a project.
func (c *Client) Containers(ctx context.Context, project string) ([]Container, error) {
	all, err := c.list(ctx, projectLabel+"="+project)
	if err != nil {
		return nil, err
	}
	containers := make([]Container, 0, len(all))
	for _, s := range all {
		one, err := c.inspect(ctx, s.ID)
		if err != nil {
			return nil, err
		}
		containers = append(containers, one)
	}
	return containers, nil
}

func (c *Client) inspect(ctx context.Context, id string) (Container, error) {
	var said struct {
		ID    string `json:"Id"`
		Image string
		State struct{ Pid int }
		// Config is what the container was made with.
		Config struct {
			Image  string
			Env    []string
			Labels map[string]string
		}
		Mounts []struct{ Name, Source, Destination string }
	}
	if err := c.call(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/json", nil, nil, &said); err != nil {
		return Container{}, err
	}
	one := Container{ID: said.ID, Service: said.Config.Labels[serviceLabel], Dir: said.Config.Labels[dirLabel], PID: said.State.Pid, Image: said.Config.Image, Environment: map[string]string{}}
	for _, e := range said.Config.Env {
		if k, v, ok := strings.Cut(e, "="); ok {
			one.Environment[k] = v
		}
	}
	for _, m := range said.Mounts {
		one.Mounts = append(one.Mounts, Mount{Source: m.Source, Target: m.Destination, Volume: m.Name})
	}
	var image struct{ RepoDigests []string }
	if err := c.call(ctx, http.MethodGet, "/images/"+url.PathEscape(said.Image)+"/json", nil, nil, &image); err == nil && len(image.RepoDigests) > 0 {
		one.Digest = image.RepoDigests[0] // one whose image is gone runs all the same
	}
	return one, nil
}

// MakeVolume makes a named volume of a project, or finds it, and tells where on the host
// it lies.
func (c *Client) MakeVolume(ctx context.Context, project, key, name string) (string, error) {
	var made struct{ Mountpoint string }
	in := map[string]any{"Name": name, "Labels": map[string]string{projectLabel: project, volumeLabel: key}}
	if err := c.call(ctx, http.MethodPost, "/volumes/create", nil, in, &made); err != nil {
		return "", err
	}
	if made.Mountpoint == "" {
		return "", fmt.Errorf("the engine at %s does not say where volume %s lies", c.socket, name)
	}
	return made.Mountpoint, nil
}
