package command

import (
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	filetree "github.com/medic/cht-backup/snapshot/file/tree"
)

// newKey makes a repository's key, and those it is to be sealed to: the catalog's
// recipient, or nobody.
func (c *offsiteCatalog) newKey(t *testing.T, sealed bool) (key repo.Key, to []age.Recipient) {
	t.Helper()
	key, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if sealed {
		recipient, err := age.ParseX25519Recipient(c.recipient)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, recipient)
	}
	return key, to
}

// fill puts a repository with one tree of a backup into the catalog.
func (c *offsiteCatalog) fill(t *testing.T, id, owner string, sealed bool) (repo.Key, string) {
	t.Helper()
	key, to := c.newKey(t, sealed)
	if err := repo.Create(t.Context(), c.bucket.Objects(), id, key, to...); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), c.bucket.Objects(), id, key, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(t.Context(), owner, []string{"couchdb-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("documents of CouchDB's")
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := packer.EncodeAll(plain, nil)
	chunk, err := s.Put(t.Context(), transfer.Frame{Piece: filetree.Piece{ID: r.HashKey().IDOf(plain), Length: int64(len(plain))}, Data: packed})
	if err != nil {
		t.Fatal(err)
	}
	file := filetree.File{Meta: filetree.Meta{Path: "data/shards/a.couch", Size: int64(len(plain))}, Chunks: []filetree.Chunk{chunk}}
	name, err := s.Commit(t.Context(), filetree.Tree{Node: "couchdb-1", Files: []filetree.File{file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return key, name
}

func TestRepoList(t *testing.T) {
	w, c := noCluster(t), newCatalog(t)
	c.put(t, fullRecord("medic", "nightly-1", "uid-1", day(1)), "one", true)
	w.mustRun(t, exit.Good, nil, "repo", "list", c.url)
	if w.out.Len() > 0 {
		t.Errorf("%s", w.out)
	}
	c.fill(t, "aaaa", "uid-1", true)
	c.fill(t, "bbbb", "uid-9", false)
	w.mustRun(t, exit.Good, nil, "repo", "list", c.url)
	w.shows(t, "REPOSITORY", "aaaa", "medic", "sealed", "bbbb", "in its cluster alone")
	w.mustRun(t, exit.Good, nil, "repo", "list", c.url+"/medic", "-o", "json")
	l := decodeOut[offsite.Repositories](t, w)
	if len(l.Repositories) != 1 || l.Repositories[0].ID != "aaaa" || l.Repositories[0].Trees != 1 || l.Repositories[0].StoredBytes == 0 || l.Repositories[0].Newest == nil {
		t.Errorf("%+v", l)
	}
}

// Damage is found and told with the backup that needs it, with the identity alone or
// with the cluster's Secret.
func TestRepoCheck(t *testing.T) {
	w, c := noCluster(t), newCatalog(t)
	c.put(t, fullRecord("medic", "nightly-1", "uid-1", day(1)), "one", true)
	key, tree := c.fill(t, "aaaa", "uid-1", true)
	w.mustRun(t, exit.Good, nil, "repo", "check", c.url, "--identity", c.key, "--read-data")
	w.shows(t, "aaaa", "every chunk", "nothing")
	w.mustRun(t, exit.Refused, []string{"no such repository", "repo list"}, "repo", "check", c.url, "--identity", c.key, "--repository", "cccc")
	other := newCatalog(t)
	w.mustRun(t, exit.Refused, []string{"none of the identities", "aaaa"}, "repo", "check", c.url, "--identity", other.key)

	inCluster := newWorld(t, interceptor.Funcs{}, keyring.SecretOf(system, "aaaa", key, keyring.Write, "medic", c.url))
	inCluster.env.SystemNamespace, inCluster.env.systemGiven = system, true
	args := []string{"repo", "check", c.url, "--" + systemFlag, system}
	inCluster.mustRun(t, exit.Good, nil, args...)
	inCluster.shows(t, "aaaa", "nothing")

	packs, err := filepath.Glob(filepath.Join(c.dir, "v1/files/aaaa/packs/*"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("%v, %v", packs, err)
	}
	if err := os.Chmod(packs[0], 0o600); err != nil {
		t.Fatal(err)
	}
	spoil(t, packs[0], func(b []byte) []byte { b[230] ^= 1; return b })
	w.mustRun(t, exit.Good, nil, "repo", "check", c.url, "--identity", c.key)
	w.mustRun(t, exit.Trouble, []string{c.url + ": 1"}, "repo", "check", c.url, "--identity", c.key, "--read-data")
	w.shows(t, "v1/files/aaaa/packs/"+filepath.Base(packs[0]), "backup medic/nightly-1, node couchdb-1", tree+": data/shards/a.couch", "next: delete the object")
	spoil(t, packs[0], func(b []byte) []byte { return b[:100] })
	inCluster.mustRun(t, exit.Trouble, nil, append(args, "-o", "json")...)
	if got := decodeOut[[]offsite.RepositoryCheck](t, inCluster); len(got) != 1 || len(got[0].Damaged) != 1 || len(got[0].Damaged[0].Trees) != 1 || got[0].Damaged[0].Trees[0].Backup != "medic/nightly-1" {
		t.Errorf("%+v", got)
	}
	w.shows(t)
	inCluster.shows(t)
}
