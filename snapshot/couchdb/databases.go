package couchdb

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Exists tells whether there is a database of that name.
func (c *Client) Exists(ctx context.Context, database string) (bool, error) {
	err := c.do(ctx, http.MethodGet, "/"+escape(database), nil, nil)
	if IsStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// CreateDatabase makes a database of so many shards; 0 takes the cluster's own
// number. One that exists already is a StatusError 412. props are those of a shard
// map.
func (c *Client) CreateDatabase(ctx context.Context, database string, shards int, props json.RawMessage) error {
	query := url.Values{}
	if shards > 0 {
		query.Set("q", strconv.Itoa(shards))
	}
	var has struct{ Partitioned bool }
	if json.Unmarshal(props, &has) == nil && has.Partitioned {
		query.Set("partitioned", "true")
	}
	return c.do(ctx, http.MethodPut, "/"+escape(database)+"?"+query.Encode(), nil, nil)
}

// DeleteDatabase deletes a database. One that is gone already is no error.
func (c *Client) DeleteDatabase(ctx context.Context, database string) error {
	err := c.do(ctx, http.MethodDelete, "/"+escape(database), nil, nil)
	if IsStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// Properties of a database that are no documents.
const (
	Security  = "_security"
	RevsLimit = "_revs_limit"
)

// Property reads Security or RevsLimit.
func (c *Client) Property(ctx context.Context, database, property string) (json.RawMessage, error) {
	var v json.RawMessage
	err := c.do(ctx, http.MethodGet, "/"+escape(database)+"/"+property, nil, &v)
	return v, err
}

// SetProperty writes Security or RevsLimit.
func (c *Client) SetProperty(ctx context.Context, database, property string, v json.RawMessage) error {
	return c.do(ctx, http.MethodPut, "/"+escape(database)+"/"+property, v, nil)
}

// LocalDocument reads _local/id of a database into out, and tells whether it is
// there. Such a document is not replicated and not counted.
func (c *Client) LocalDocument(ctx context.Context, database, id string, out any) (bool, error) {
	err := c.do(ctx, http.MethodGet, "/"+escape(database)+"/_local/"+escape(id), nil, out)
	if IsStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PutLocalDocument writes _local/id. The document must carry the _rev that is
// there, if one is; otherwise it is a StatusError 409. It gives the new _rev.
func (c *Client) PutLocalDocument(ctx context.Context, database, id string, doc any) (rev string, err error) {
	var said struct{ Rev string }
	err = c.do(ctx, http.MethodPut, "/"+escape(database)+"/_local/"+escape(id), doc, &said)
	return said.Rev, err
}
