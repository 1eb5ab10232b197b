package main

import (
	"context"
	"crypto/md5" //nolint:gosec // CouchDB's own digest of attachments
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/medic/cht-backup/integration/cht/couch"
)

const contentsPage = 1000 // documents in one request

// contents are the seeded documents of medic down to the last byte.
type contents struct {
	sums        map[string][sha256.Size]byte // of the document with its attachments
	attachments int
	bytes       int64 // of the attachments
}

type attachment struct {
	Data   []byte
	Digest string
}

// readContents reads every seeded document with all its attachments.
func readContents(ctx context.Context, c *couch.Client) (contents, error) {
	all := contents{sums: map[string][sha256.Size]byte{}}
	from, skip := "seed-", 0
	for {
		start, err := json.Marshal(from)
		if err != nil {
			return all, err
		}
		var page struct {
			Rows []struct {
				ID  string
				Doc json.RawMessage
			}
		}
		path := fmt.Sprintf("/medic/_all_docs?include_docs=true&limit=%d&skip=%d&start_key=%s&end_key=%s",
			contentsPage, skip, url.QueryEscape(string(start)), url.QueryEscape(`"seed-~"`))
		if err := c.Get(ctx, path, &page); err != nil {
			return all, fmt.Errorf("read documents from %s on: %w", from, err)
		}
		for _, row := range page.Rows {
			raw, err := whole(ctx, c, row.ID, row.Doc)
			if err == nil {
				err = all.add(row.ID, raw)
			}
			if err != nil {
				return all, err
			}
			from, skip = row.ID, 1
		}
		if len(page.Rows) < contentsPage {
			return all, nil
		}
	}
}

// whole reads a document that has attachments again, with their data.
func whole(ctx context.Context, c *couch.Client, id string, raw json.RawMessage) (json.RawMessage, error) {
	var doc struct {
		Attachments json.RawMessage `json:"_attachments"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("document %s: %w", id, err)
	}
	if doc.Attachments == nil {
		return raw, nil
	}
	if err := c.Get(ctx, "/medic/"+couch.EscapeID(id)+"?attachments=true", &raw); err != nil {
		return nil, fmt.Errorf("read document %s with its attachments: %w", id, err)
	}
	return raw, nil
}

func (c *contents) add(id string, raw json.RawMessage) error {
	var doc struct {
		Attachments map[string]attachment `json:"_attachments"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("document %s: %w", id, err)
	}
	for name, a := range doc.Attachments {
		if err := a.check(); err != nil {
			return fmt.Errorf("document %s, attachment %s: %w", id, name, err)
		}
		c.attachments++
		c.bytes += int64(len(a.Data))
	}
	c.sums[id] = sha256.Sum256(raw)
	return nil
}

// check compares an attachment with the digest that CouchDB keeps beside it.
func (a attachment) check() error {
	sum := md5.Sum(a.Data) //nolint:gosec // as above
	if got := "md5-" + base64.StdEncoding.EncodeToString(sum[:]); len(a.Data) == 0 || got != a.Digest {
		return fmt.Errorf("%d bytes with digest %s, want %s", len(a.Data), got, a.Digest)
	}
	return nil
}

// differences lists what is not the same in a copy.
func (c contents) differences(copied contents) []string {
	var all []string
	for id, sum := range c.sums {
		if has, there := copied.sums[id]; !there {
			all = append(all, "document "+id+" is missing")
		} else if has != sum {
			all = append(all, "document "+id+" has another content")
		}
	}
	for id := range copied.sums {
		if _, there := c.sums[id]; !there {
			all = append(all, "document "+id+" was not there")
		}
	}
	if c.attachments != copied.attachments || c.bytes != copied.bytes {
		all = append(all, fmt.Sprintf("%d attachments with %d bytes, was %d with %d", copied.attachments, copied.bytes, c.attachments, c.bytes))
	}
	return all
}
