package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

func listed(t *testing.T, o repo.Objects, prefix string) (keys []string) {
	t.Helper()
	err := o.List(t.Context(), prefix, func(one repo.Object) error {
		if age := time.Since(one.Time); age < -time.Minute || age > time.Hour {
			t.Errorf("%s was put at %s", one.Key, one.Time)
		}
		keys = append(keys, fmt.Sprintf("%s %d", one.Key, one.Size))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestObjects(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		o := b.Objects()
		const key = "v1/files/r1/packs/0123"
		if got := listed(t, o, "v1/files/r1/packs/"); len(got) > 0 {
			t.Errorf("in an empty place: %v", got)
		}
		if _, err := o.Get(t.Context(), key, 0, 10); !errors.Is(err, repo.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("get nothing: %v", err)
		}
		if err := o.Delete(t.Context(), key); err != nil {
			t.Errorf("delete nothing: %v", err)
		}
		if err := o.Put(t.Context(), key, []byte("0123456789")); err != nil {
			t.Fatal(err)
		}
		if err := o.Put(t.Context(), key, []byte("other")); !errors.Is(err, repo.ErrExists) || !strings.Contains(err.Error(), key) {
			t.Errorf("put twice: %v", err)
		}
		for _, c := range []struct {
			offset, length int64
			want           string
		}{{0, 10, "0123456789"}, {0, 1000, "0123456789"}, {3, 4, "3456"}, {8, 10, "89"}, {9, 1, "9"}, {10, 5, ""}, {500, 5, ""}} {
			if got, err := o.Get(t.Context(), key, c.offset, c.length); err != nil || string(got) != c.want {
				t.Errorf("%d bytes from %d: %q, %v", c.length, c.offset, got, err)
			}
		}
		for _, other := range []string{"v1/files/r1/packs/0122", "v1/files/r1/trees/x", "v1/files/r10/packs/1", "v1/repositories/r1"} {
			if err := o.Put(t.Context(), other, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := listed(t, o, "v1/files/r1/packs/"), []string{"v1/files/r1/packs/0122 0", key + " 10"}; !slices.Equal(got, want) {
			t.Errorf("listed %v", got)
		}
		if got, want := listed(t, o, "v1/files/r1/packs/012"), []string{"v1/files/r1/packs/0122 0", key + " 10"}; !slices.Equal(got, want) {
			t.Errorf("listed by the beginning of a name: %v", got)
		}
		for range 2 {
			if err := o.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
		if got := listed(t, o, "v1/files/"); len(got) != 3 {
			t.Errorf("left %v", got)
		}
		// More than a page.
		for i := range 5 {
			if err := o.Put(t.Context(), fmt.Sprintf("v1/files/many/packs/%04d", i), []byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if got := listed(t, o, "v1/files/many/"); len(got) != 5 || !slices.IsSorted(got) {
			t.Errorf("%d listed", len(got))
		}
	})
}

// Nobody leaves the place that repositories have, and none reads all there is at once.
func TestObjectKeys(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		o := b.Objects()
		for _, key := range []string{"", "v1/files/", "v1/files/../heads/x", "v1/files/r1/../../x", "v1/heads/x", "v1/files/r1//x", "/v1/files/r1/x", "v1/files/r1/.unfinished-1", "v1/files/r1/x/", "v1/files/r1/a b", "v1/files/r1/a\\b", "v1/files/r1/" + strings.Repeat("x", 2000), "cht-catalog.json"} {
			_, get := o.Get(t.Context(), key, 0, 1)
			for what, err := range map[string]error{"put": o.Put(t.Context(), key, []byte("x")), "get": get, "delete": o.Delete(t.Context(), key)} {
				if err == nil || errors.Is(err, repo.ErrNotFound) {
					t.Errorf("%s %q: %v", what, key, err)
				}
			}
		}
		for _, prefix := range []string{"", "v1/", "v1/heads/", "v1/files/../"} {
			if err := o.List(t.Context(), prefix, func(repo.Object) error { return nil }); err == nil {
				t.Errorf("list %q", prefix)
			}
		}
		for _, c := range [][2]int64{{-1, 1}, {0, 0}, {0, -1}, {0, 1 << 40}} {
			if _, err := o.Get(t.Context(), "v1/files/r1/x", c[0], c[1]); err == nil || errors.Is(err, repo.ErrNotFound) {
				t.Errorf("get %v: %v", c, err)
			}
		}
	})
}

// A repository lives in every kind of bucket.
func TestRepositoryInBucket(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		key, err := repo.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		if err := repo.Create(t.Context(), b.Objects(), "r1", key); err != nil {
			t.Fatal(err)
		}
		r, err := repo.Open(t.Context(), b.Objects(), "r1", key, repo.Options{PackSize: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		put := func(owner string, n byte, bases ...string) string {
			s, err := r.Begin(t.Context(), owner, []string{"couchdb"}, bases)
			if err != nil {
				t.Fatal(err)
			}
			file := tree.File{Meta: tree.Meta{Path: "data/a.couch"}}
			for i := range n {
				plain := bytes.Repeat([]byte{i, owner[0]}, 1500)
				c, err := s.Put(t.Context(), transfer.Frame{Piece: tree.Piece{ID: s.HashKey().IDOf(plain), Length: 3000}, Data: plain})
				if err != nil {
					t.Fatal(err)
				}
				file.Chunks, file.Size = append(file.Chunks, c), file.Size+3000
			}
			name, err := s.Commit(t.Context(), tree.Tree{Node: "couchdb", Files: []tree.File{file}})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			return name
		}
		first := put("a", 10)
		second := put("b", 12, first)
		if err := r.DeleteTree(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if did, err := r.Collect(t.Context()); err != nil || did.Deleted == 0 || did.Waiting+did.Kept > 0 {
			t.Errorf("%+v, %v", did, err)
		}
		got, err := r.Tree(t.Context(), second)
		if err != nil || len(got.Files) != 1 || len(got.Files[0].Chunks) != 12 {
			t.Fatalf("%+v, %v", got, err)
		}
		n := byte(0)
		err = r.Read(t.Context(), got.Files[0].Chunks, func(f transfer.Frame) error {
			if !bytes.Equal(f.Data, bytes.Repeat([]byte{n, 'b'}, 1500)) {
				t.Errorf("chunk %d is another", n)
			}
			n++
			return nil
		})
		if err != nil || n != 12 {
			t.Errorf("%d, %v", n, err)
		}
		if ids, err := repo.List(t.Context(), b.Objects()); err != nil || !slices.Equal(ids, []string{"r1"}) {
			t.Errorf("%v, %v", ids, err)
		}
		if err := r.DeleteTree(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Collect(t.Context()); err != nil {
			t.Error(err)
		}
		if left := listed(t, b.Objects(), "v1/files/"); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// What a crash left half written is no object, and goes when it is old.
func TestUnfinishedObjects(t *testing.T) {
	b, err := Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Objects().Put(t.Context(), "v1/files/r1/packs/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	young, old := filepath.Join(b.dir, "v1/files/r1/packs", unfinished+"1"), filepath.Join(b.dir, "v1/files/r1/packs", unfinished+"2")
	for _, path := range []string{young, old} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-leftAfter-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, b.Objects(), "v1/files/r1/"); !slices.Equal(got, []string{"v1/files/r1/packs/1 1"}) {
		t.Errorf("listed %v", got)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("what somebody may be writing: %v", err)
	}
}

// Two who put the same key at once: one of them does.
func TestPutOnce(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		var good, refused atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				switch err := b.Objects().Put(t.Context(), "v1/files/r1/trees/x", []byte{byte(i)}); {
				case err == nil:
					good.Add(1)
				case errors.Is(err, repo.ErrExists):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 || refused.Load() != 7 {
			t.Errorf("%d were written, %d refused", good.Load(), refused.Load())
		}
	})
}

// A bucket that keeps what it has says so, as one that cannot be reached does not.
func TestObjectsKept(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
		kept   bool
	}{
		"forbidden": {http.StatusForbidden, "AccessDenied", true}, "locked": {http.StatusConflict, "ObjectLocked", true},
		"broken": {http.StatusBadRequest, "Broken", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					return // it is there
				}
				w.WriteHeader(c.status)
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", c.code)
			}))
			t.Cleanup(server.Close)
			for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
				t.Setenv(k, v)
			}
			b, err := Open(t.Context(), "s3://b?region=us-east-1&use_path_style=true&endpoint="+url.QueryEscape(server.URL))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Objects().Delete(t.Context(), "v1/files/r1/packs/1"); err == nil || errors.Is(err, repo.ErrKept) != c.kept {
				t.Errorf("%v", err)
			}
		})
	}
}
