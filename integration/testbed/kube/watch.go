package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// errGone ends a watch of a deleted object.
var errGone = errors.New("deleted")

// Wait watches one object (collection path and name) until done says true of it,
// and returns it. An object that does not exist yet is waited for.
func (c *Client) Wait(ctx context.Context, collection, name string, done func(Object) bool) (Object, error) {
	var last Object
	for {
		found, err := c.watch(ctx, collection, name, func(o Object) bool {
			last = o
			return done(o)
		})
		if found {
			return last, nil
		}
		if ctx.Err() != nil {
			status, _ := json.Marshal(last.Field("status"))
			return last, fmt.Errorf("wait for %s/%s: %w (last status %s)", collection, name, ctx.Err(), status)
		}
		if err != nil {
			return last, fmt.Errorf("wait for %s/%s: %w", collection, name, err)
		}
	}
}

// WaitGone waits until an object is deleted.
func (c *Client) WaitGone(ctx context.Context, collection, name string) error {
	for {
		if _, err := c.Get(ctx, collection+"/"+name); IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := c.watch(ctx, collection, name, func(Object) bool { return false }); errors.Is(err, errGone) {
			return nil
		} else if err != nil || ctx.Err() != nil {
			return fmt.Errorf("wait until %s/%s is gone: %w", collection, name, errors.Join(err, ctx.Err()))
		}
	}
}

// watch runs one watch request to its end; without a resourceVersion it begins
// with what is there.
func (c *Client) watch(ctx context.Context, collection, name string, done func(Object) bool) (bool, error) {
	query := url.Values{"watch": {"true"}, "fieldSelector": {"metadata.name=" + name}}
	stream, err := c.open(ctx, http.MethodGet, collection+"?"+query.Encode(), "application/json", nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = stream.Close() }()
	events := json.NewDecoder(stream)
	for {
		var event struct {
			Type   string `json:"type"`
			Object Object `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			return false, nil // the server ends watches now and then
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			if done(event.Object) {
				return true, nil
			}
		case "DELETED":
			return false, errGone
		case "ERROR":
			return false, fmt.Errorf("watch: %s", event.Object.Text("message"))
		}
	}
}

// Condition tells whether an object has a condition with status True.
func Condition(o Object, kind string) bool {
	all, _ := o.Field("status", "conditions").([]any)
	for _, one := range all {
		if c, ok := one.(map[string]any); ok && c["type"] == kind {
			return c["status"] == "True"
		}
	}
	return false
}
