package offsite

import (
	"slices"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

// Repositories is what a catalog has of repositories of files.
type Repositories struct {
	Version      int          `json:"version"`
	Source       string       `json:"source"`
	Repositories []Repository `json:"repositories"`
}

// Repository is one of them, as it is seen without its key.
type Repository struct {
	ID string `json:"id"`
	// Namespaces whose backups are in it, as far as the catalog has their records.
	Namespaces []string `json:"namespaces"`
	// Backups that have trees in it, and the trees, one for each node.
	Backups int        `json:"backups"`
	Trees   int        `json:"trees"`
	Newest  *time.Time `json:"newest,omitempty"`
	// StoredBytes of its packs.
	StoredBytes int64 `json:"storedBytes"`
	// SealedKeys is how often its key lies in the catalog; 0 where its cluster alone has it.
	SealedKeys int `json:"sealedKeys"`
	// Writers that are writing to it, or have died lately.
	Writers int `json:"writers"`
}

// OfRepository tells what is seen of a repository beside the records of a catalog.
func OfRepository(s repo.Seen, heads []bucket.Head) Repository {
	r := Repository{ID: s.ID, Namespaces: []string{}, Trees: len(s.Trees), StoredBytes: s.Bytes, SealedKeys: s.SealedKeys, Writers: s.Writers}
	owners := map[string]bool{}
	for _, t := range s.Trees {
		owners[t.Owner] = true
		r.Newest = &t.Time
	}
	r.Backups = len(owners)
	for _, h := range heads {
		if owners[string(h.UID)] && !slices.Contains(r.Namespaces, h.Namespace) {
			r.Namespaces = append(r.Namespaces, h.Namespace)
		}
	}
	slices.Sort(r.Namespaces)
	return r
}

// RepositoryCheck is what a check of a repository has found.
type RepositoryCheck struct {
	ID string `json:"id"`
	// ReadData: every chunk was read and compared.
	ReadData    bool     `json:"readData"`
	Trees       int      `json:"trees"`
	Chunks      int      `json:"chunks"`
	Packs       int      `json:"packs"`
	Bytes       int64    `json:"bytes"`
	Unused      int      `json:"unused"`
	UnusedBytes int64    `json:"unusedBytes"`
	Damaged     []Damage `json:"damaged"`
}

// Damage is an object that is not as it was written.
type Damage struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	// Trees that need it.
	Trees []Tree `json:"trees"`
	// Files that need it, some of them.
	Files []string `json:"files"`
}

// Tree is one node's files in a backup.
type Tree struct {
	Name string `json:"name"`
	// Backup is NAMESPACE/NAME, or the UID where the catalog has no record of it.
	Backup string `json:"backup"`
	Node   string `json:"node"`
}

// OfReport tells a check's report beside the records of a catalog.
func OfReport(id string, r repo.Report, heads []bucket.Head) RepositoryCheck {
	names := map[string]string{}
	for _, h := range heads {
		names[string(h.UID)] = h.Namespace + "/" + h.Name
	}
	c := RepositoryCheck{ID: id, ReadData: r.Read, Trees: r.Trees, Chunks: r.Chunks, Packs: r.Packs, Bytes: r.Bytes, Unused: r.Unused, UnusedBytes: r.UnusedBytes, Damaged: []Damage{}}
	for _, d := range r.Damaged {
		one := Damage{Object: d.Key, Reason: d.Reason, Trees: []Tree{}, Files: append([]string{}, d.Files...)}
		for _, name := range d.Trees {
			t, err := repo.ParseTreeName(name)
			if err != nil {
				continue
			}
			backup := names[t.Owner]
			if backup == "" {
				backup = t.Owner
			}
			one.Trees = append(one.Trees, Tree{name, backup, t.Node})
		}
		c.Damaged = append(c.Damaged, one)
	}
	return c
}
