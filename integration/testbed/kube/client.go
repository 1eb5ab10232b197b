package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"
)

// Object is any API object.
type Object map[string]any

// Field returns the value at a path of field names, nil where there is none.
func (o Object) Field(path ...string) any {
	var at any = map[string]any(o)
	for _, name := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[name]
	}
	return at
}

// Text is Field for a string.
func (o Object) Text(path ...string) string {
	s, _ := o.Field(path...).(string)
	return s
}

// Client talks to one API server.
type Client struct {
	server string
	tls    *tls.Config
	http   *http.Client

	mu        sync.Mutex
	resources map[string]resource // by apiVersion/kind
}

type resource struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced"`
}

// New reads a kubeconfig.
func New(path string) (*Client, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Cert []byte `json:"client-certificate-data"`
				Key  []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, fmt.Errorf("read %s: not a kubeconfig of ours", path)
	}
	pair, err := tls.X509KeyPair(config.Users[0].User.Cert, config.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Clusters[0].Cluster.CA)
	c := &Client{server: config.Clusters[0].Cluster.Server, resources: map[string]resource{},
		tls: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: c.tls.Clone(), ForceAttemptHTTP2: true}}
	return c, nil
}

// StatusError is a refusal by the API server.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// IsNotFound tells that an object is not there.
func IsNotFound(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && s.Code == http.StatusNotFound
}

func (c *Client) open(ctx context.Context, method, path, contentType string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	var st Object
	if json.Unmarshal(text, &st) == nil && st.Text("message") != "" {
		text = []byte(st.Text("message"))
	}
	return nil, &StatusError{Code: resp.StatusCode, Message: strings.TrimSpace(string(text))}
}

// Do sends one request and returns the answer's body.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	r, err := c.open(ctx, method, path, contentType, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// Get reads the object at an API path.
func (c *Client) Get(ctx context.Context, path string) (Object, error) {
	data, err := c.Do(ctx, http.MethodGet, path, "application/json", nil)
	if err != nil {
		return nil, err
	}
	var o Object
	return o, json.Unmarshal(data, &o)
}

// Delete deletes the object at an API path; that it is gone is no error.
func (c *Client) Delete(ctx context.Context, path string) error {
	_, err := c.Do(ctx, http.MethodDelete, path, "application/json", nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// Apply applies YAML documents by server-side apply, in their order.
func (c *Client) Apply(ctx context.Context, documents string) error {
	for _, doc := range strings.Split(documents, "\n---") {
		var o Object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		if len(o) == 0 {
			continue
		}
		path, err := c.path(ctx, o)
		if err != nil {
			return err
		}
		data, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := c.Do(ctx, http.MethodPatch, path+"?fieldManager=testbed&force=true", "application/apply-patch+yaml", data); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.Text("kind"), o.Text("metadata", "name"), err)
		}
	}
	return nil
}

func groupPath(apiVersion string) string {
	if strings.Contains(apiVersion, "/") {
		return "/apis/" + apiVersion
	}
	return "/api/" + apiVersion
}

func (c *Client) path(ctx context.Context, o Object) (string, error) {
	version, kind := o.Text("apiVersion"), o.Text("kind")
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.resources[version+"/"+kind]
	if !ok {
		data, err := c.Do(ctx, http.MethodGet, groupPath(version), "application/json", nil)
		if err != nil {
			return "", err
		}
		var list struct {
			Resources []resource `json:"resources"`
		}
		if err := json.Unmarshal(data, &list); err != nil {
			return "", err
		}
		for _, one := range list.Resources {
			if !strings.Contains(one.Name, "/") {
				c.resources[version+"/"+one.Kind] = one
			}
		}
		if r, ok = c.resources[version+"/"+kind]; !ok {
			return "", fmt.Errorf("the API server has no %s %s", version, kind)
		}
	}
	path := groupPath(version)
	if r.Namespaced {
		path += "/namespaces/" + o.Text("metadata", "namespace")
	}
	return path + "/" + r.Name + "/" + url.PathEscape(o.Text("metadata", "name")), nil
}

// Ready waits until the API server says so. It is asked anew each time: a server
// that does not listen yet cannot notify.
func (c *Client) Ready(ctx context.Context) error {
	for {
		_, err := c.Do(ctx, http.MethodGet, "/readyz", "application/json", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w (last: %w)", ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
