package offsite

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Lack is what a record needs for a restore and does not have.
type Lack struct {
	// Credentials: CouchDB's admin user and password, without which no restore works.
	Credentials bool
	// Secrets that the instance had, the credentials left out. What uses them does not
	// start without.
	Secrets []string
	// Values of other objects, as KIND/NAME, in whose places there is a placeholder.
	Values []string
}

// Any tells whether anything lacks.
func (l Lack) Any() bool { return l.Credentials || len(l.Secrets)+len(l.Values) > 0 }

// Lacking tells what a record lacks. held is what its manifest says was kept apart.
func Lacking(r catalog.Record, held []bucket.Held) Lack {
	l := Lack{Credentials: true, Values: bucket.Placeholders(r)}
	there := map[string]bool{}
	for _, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil || o.Kind != "Secret" {
			continue
		}
		there[o.Metadata.Name] = true
		if o.Metadata.Name == cht.CredentialsSecret && hasCredentials(raw) {
			l.Credentials = false
		}
	}
	for _, h := range held {
		if h.Kind == "Secret" && h.Name != cht.CredentialsSecret && !there[h.Name] {
			l.Secrets = append(l.Secrets, h.Name)
		}
	}
	return l
}

func hasCredentials(raw json.RawMessage) bool {
	var secret struct {
		Data map[string]string `json:"data"`
	}
	if json.Unmarshal(raw, &secret) != nil {
		return false
	}
	for _, key := range []string{"COUCHDB_USER", "COUCHDB_PASSWORD"} {
		if text, err := base64.StdEncoding.DecodeString(secret.Data[key]); err != nil || len(text) == 0 {
			return false
		}
	}
	return true
}

// Merge puts objects into a record, in the place of those of the same kind and name,
// and tells which, as KIND/NAME.
func Merge(r catalog.Record, objects []json.RawMessage) (merged catalog.Record, replaced, added []string, err error) {
	merged = r
	merged.Objects = slices.Clone(r.Objects)
	at := map[[3]string]int{}
	for i, raw := range merged.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			return r, nil, nil, fmt.Errorf("object %d of the record: %w", i, err)
		}
		at[[3]string{o.APIVersion, o.Kind, o.Metadata.Name}] = i
	}
	for _, raw := range objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			return r, nil, nil, err
		}
		key, name := [3]string{o.APIVersion, o.Kind, o.Metadata.Name}, o.Kind+"/"+o.Metadata.Name
		if i, there := at[key]; there {
			merged.Objects[i], replaced = raw, append(replaced, name)
			continue
		}
		at[key] = len(merged.Objects)
		merged.Objects, added = append(merged.Objects, raw), append(added, name)
	}
	return merged, replaced, added, merged.Check()
}

// WithCopies notes in a record the copies of its snapshots that its catalog tells of,
// so that a restore in another Region finds them.
func WithCopies(r catalog.Record, copies []bucket.Copy) catalog.Record {
	r.Nodes = slices.Clone(r.Nodes)
	for i := range r.Nodes {
		n := &r.Nodes[i]
		n.Copies = slices.Clone(n.Copies)
		for _, c := range copies {
			for _, v := range c.Volumes {
				if v.Node != n.Service || slices.ContainsFunc(n.Copies, func(o catalog.Copy) bool { return o.Region == c.Region && o.Handle == v.Handle }) {
					continue
				}
				n.Copies = append(n.Copies, catalog.Copy{Name: c.Name, Region: c.Region, Account: c.Account, Handle: v.Handle, KMSKeyID: v.KMSKeyID})
			}
		}
	}
	return r
}
