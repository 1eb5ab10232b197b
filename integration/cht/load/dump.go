package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/medic/cht-backup/integration/cht/couch"
)

const dumpPage = 2000 // documents in one request

// WriteDump prints the state of every database, in order:
//
//	doc DB ID REV
//	local DB ID REV
//	deleted DB COUNT
//
// with names and ids escaped as in a URL query. Of the local documents those
// named are printed, where they are.
func WriteDump(ctx context.Context, c *couch.Client, locals []string, out io.Writer) error {
	w := bufio.NewWriterSize(out, 1<<16)
	var dbs []string
	if err := c.Get(ctx, "/_all_dbs", &dbs); err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	slices.Sort(dbs)
	for _, db := range dbs {
		if err := dumpDB(ctx, c, db, locals, w); err != nil {
			return fmt.Errorf("dump %s: %w", db, err)
		}
	}
	if _, err := fmt.Fprintln(w, "end"); err != nil {
		return err
	}
	return w.Flush()
}

func dumpDB(ctx context.Context, c *couch.Client, db string, locals []string, w io.Writer) error {
	name, path := url.QueryEscape(db), "/"+couch.Escape(db)
	query, seen := "", ""
	for {
		var page struct {
			Rows []struct {
				ID    string
				Value struct{ Rev string }
				Error string
			}
		}
		if err := c.Get(ctx, fmt.Sprintf("%s/_all_docs?limit=%d%s", path, dumpPage, query), &page); err != nil {
			return err
		}
		for _, row := range page.Rows {
			if row.Error != "" || row.Value.Rev == "" || row.ID == seen {
				return fmt.Errorf("_all_docs after %q: row %q has revision %q, error %q", seen, row.ID, row.Value.Rev, row.Error)
			}
			seen = row.ID
			if _, err := fmt.Fprintln(w, "doc", name, url.QueryEscape(row.ID), row.Value.Rev); err != nil {
				return err
			}
		}
		if len(page.Rows) < dumpPage {
			break
		}
		key, err := json.Marshal(seen)
		if err != nil {
			return err
		}
		query = "&skip=1&start_key=" + url.QueryEscape(string(key))
	}
	for _, id := range locals {
		var doc struct {
			Rev string `json:"_rev"`
		}
		err := c.Get(ctx, path+"/"+couch.EscapeID(id), &doc)
		if couch.Status(err) == 404 {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, "local", name, url.QueryEscape(id), doc.Rev); err != nil {
			return err
		}
	}
	var info struct {
		Deleted int64 `json:"doc_del_count"`
	}
	if err := c.Get(ctx, path, &info); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "deleted", name, info.Deleted)
	return err
}

// Key names a document.
type Key struct{ DB, ID string }

// Dump is a dump read back.
type Dump struct {
	Docs    map[Key]string // revisions
	Locals  map[Key]string
	Deleted map[string]int64 // by database
}

// ReadDump reads what WriteDump printed; one that was cut off is an error.
func ReadDump(in io.Reader) (*Dump, error) {
	d := &Dump{Docs: map[Key]string{}, Locals: map[Key]string{}, Deleted: map[string]int64{}}
	for s := bufio.NewScanner(in); s.Scan(); {
		f := strings.Fields(s.Text())
		for i := 1; i < len(f); i++ {
			plain, err := url.QueryUnescape(f[i])
			if err != nil {
				return nil, fmt.Errorf("read dump: %q: %w", s.Text(), err)
			}
			f[i] = plain
		}
		switch {
		case len(f) == 4 && f[0] == "doc":
			d.Docs[Key{f[1], f[2]}] = f[3]
		case len(f) == 4 && f[0] == "local":
			d.Locals[Key{f[1], f[2]}] = f[3]
		case len(f) == 3 && f[0] == "deleted":
			n, err := strconv.ParseInt(f[2], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read dump: %q: %w", s.Text(), err)
			}
			d.Deleted[f[1]] = n
		case len(f) == 1 && f[0] == "end":
			return d, nil
		default:
			return nil, fmt.Errorf("read dump: %q is no line of a dump", s.Text())
		}
	}
	return nil, fmt.Errorf("read dump: cut off after %d documents", len(d.Docs))
}
