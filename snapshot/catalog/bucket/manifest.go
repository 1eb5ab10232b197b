package bucket

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"

	"filippo.io/age"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// ManifestFormat is the version of a manifest that is written and read.
const ManifestFormat = 1

// Manifest tells of a record all that a list or a plan needs. Nothing in it is
// secret.
type Manifest struct {
	Format int `json:"format"`
	// Cluster is the name of the cluster that took the backup.
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// CutTime, to the microsecond, as in the key.
	CutTime     time.Time       `json:"cutTime"`
	Consistency api.Consistency `json:"consistency"`
	// Program is the version of cht-backup that wrote it, CouchDB the server's.
	Program string `json:"program"`
	CouchDB string `json:"couchdb,omitempty"`
	// Databases, Documents and Deleted are numbers just before the cut.
	Databases int             `json:"databases"`
	Documents int64           `json:"documents"`
	Deleted   int64           `json:"deleted"`
	Nodes     []Volume        `json:"nodes"`
	Images    []catalog.Image `json:"images,omitempty"`
	// Release without its values, which are sealed.
	Release *catalog.Release `json:"release,omitempty"`
	// Files are the objects of the record under v1/data/UID/.
	Files []File `json:"files"`
	// Secrets says what became of them.
	Secrets SecretsSaid `json:"secrets"`
}

// Volume is one node's snapshot.
type Volume struct {
	Service       string     `json:"service"`
	Method        api.Method `json:"method"`
	Driver        string     `json:"driver,omitempty"`
	Handle        string     `json:"handle"`
	CapacityBytes int64      `json:"capacityBytes"`
	// Region and Zone of an EBS volume.
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
	// Files is the copy of its files, below v1/files/ in the same bucket; nil for none.
	Files *Files `json:"fileCopy,omitempty"`
}

// Files is a copy of one node's files.
type Files struct {
	Repository string `json:"repository"`
	Tree       string `json:"tree"`
	Bytes      int64  `json:"bytes"`
}

// File is one object of a record.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// SecretsSaid says what became of the Secrets of an instance.
type SecretsSaid struct {
	State api.CatalogSecrets `json:"state"`
	// Recipients are the public keys that they are sealed to.
	Recipients []string `json:"recipients,omitempty"`
	// Held names what is sealed or left out, without the values. When it was left out,
	// a restore needs it from elsewhere.
	Held []Held `json:"held,omitempty"`
}

// Held is one object, values of which are sealed or left out: a Secret as a whole,
// or places in another object, or the values of the Helm release.
type Held struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Keys of a Secret, or JSON pointers in another object.
	Keys []string `json:"keys,omitempty"`
}

// Head is the key of the manifest, taken apart.
func (m Manifest) Head() Head {
	return Head{Namespace: m.Namespace, Name: m.Name, UID: m.UID, CutTime: m.CutTime.UTC()}
}

func (m Manifest) file(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

const (
	maxVolumes = 256
	maxHeld    = 20_000
)

var driverForm = regexp.MustCompile(`^[A-Za-z0-9.-]{0,253}$`)

func decodeManifest(text []byte) (Manifest, error) {
	var version struct {
		Format int `json:"format"`
	}
	var m Manifest
	if len(text) > maxManifest {
		return m, errors.New("it is too large")
	}
	if err := bounded.Text(text, 20, 100_000); err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return m, fmt.Errorf("decode: %w", err)
	}
	if version.Format != ManifestFormat {
		return m, fmt.Errorf("it has format %d, this version reads %d; use a newer cht-backup", version.Format, ManifestFormat)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("decode: %w", err)
	}
	m.CutTime = m.CutTime.UTC()
	return m, m.check()
}

func (m Manifest) check() error {
	if err := m.Head().Check(); err != nil {
		return err
	}
	if m.Consistency != api.Consistent && m.Consistency != api.CrashConsistent {
		return fmt.Errorf("consistency %q is none", clip(string(m.Consistency)))
	}
	if m.Databases < 0 || m.Documents < 0 || m.Deleted < 0 || len(m.Nodes) == 0 || len(m.Nodes) > maxVolumes || len(m.Images) > maxHeld {
		return errors.New("a number in it cannot be")
	}
	texts := []string{m.Cluster, m.Program, m.CouchDB}
	for _, n := range m.Nodes {
		if n.Method != api.MethodCSI && n.Method != api.MethodEBS && n.Method != api.MethodFile || n.CapacityBytes < 0 || !driverForm.MatchString(n.Driver) {
			return fmt.Errorf("node %q: its method, driver or size cannot be", clip(n.Service))
		}
		if f := n.Files; f == nil && n.Method == api.MethodFile || f != nil && (!catalog.IsRepository(f.Repository) || !catalog.IsTree(f.Tree) || f.Bytes < 0) {
			return fmt.Errorf("node %q: its files are in no repository that can be", clip(n.Service))
		}
		texts = append(texts, n.Service, n.Handle, n.Region, n.Zone)
	}
	for _, i := range m.Images {
		texts = append(texts, i.Component, i.Container, i.Image, i.ID)
	}
	if r := m.Release; r != nil {
		if len(r.Values) > 0 {
			return errors.New("it has the values of a release, which belong sealed")
		}
		texts = append(texts, r.Name, r.Chart, r.Version, r.AppVersion)
	}
	for _, text := range texts {
		if !shown(text, 1024) {
			return fmt.Errorf("%q cannot be shown", clip(text))
		}
	}
	if err := m.checkFiles(); err != nil {
		return err
	}
	return m.Secrets.check()
}

func (m Manifest) checkFiles() error {
	most := map[string]int64{recordFile: maxPacked, secretsFile: maxSealed}
	seen := map[string]bool{}
	for _, f := range m.Files {
		bound, known := most[f.Name]
		if !known || seen[f.Name] {
			return fmt.Errorf("file %q has no place in it", clip(f.Name))
		}
		seen[f.Name] = true
		if f.Bytes <= 0 || f.Bytes > bound {
			return fmt.Errorf("file %s of %d bytes; %d are the most", f.Name, f.Bytes, bound)
		}
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != 32 {
			return fmt.Errorf("file %s: %q is no SHA-256", f.Name, clip(f.SHA256))
		}
	}
	if !seen[recordFile] {
		return fmt.Errorf("it names no file %s", recordFile)
	}
	if sealed := m.Secrets.State == api.SecretsSealed; sealed != seen[secretsFile] {
		return fmt.Errorf("its secrets are %s, which does not go with its files", clip(string(m.Secrets.State)))
	}
	return nil
}

func (s SecretsSaid) check() error {
	if s.State != api.SecretsSealed && s.State != api.SecretsLeftOut {
		return fmt.Errorf("secrets %q is not known", clip(string(s.State)))
	}
	if len(s.Recipients) > maxRecipients || len(s.Held) > maxHeld {
		return errors.New("it has more secrets or recipients than can be")
	}
	for _, r := range s.Recipients {
		if _, err := age.ParseX25519Recipient(r); err != nil {
			return fmt.Errorf("recipient %q is no public key of age's", clip(r))
		}
	}
	for _, h := range s.Held {
		for _, text := range append([]string{h.Kind, h.Name}, h.Keys...) {
			if !shown(text, 1024) {
				return fmt.Errorf("%q cannot be shown", clip(text))
			}
		}
	}
	return nil
}

// shown tells whether a text can be printed.
func shown(text string, most int) bool {
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return len(text) <= most
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// manifestOf gives the manifest of a record, without files and secrets.
func manifestOf(r catalog.Record, cluster, program string) Manifest {
	h := HeadOf(r)
	m := Manifest{Format: ManifestFormat, Cluster: cluster, Namespace: h.Namespace, Name: h.Name, UID: h.UID, CutTime: h.CutTime, Consistency: r.Consistency,
		Program: program, CouchDB: r.CouchDB, Databases: len(r.Before.ShardMaps), Images: r.Images}
	for _, c := range r.Before.Counts {
		m.Documents, m.Deleted = m.Documents+c.Documents, m.Deleted+c.Deleted
	}
	for _, n := range r.Nodes {
		v := Volume{Service: n.Service, Method: n.Method, Driver: n.Driver, Handle: n.SnapshotHandle, CapacityBytes: n.CapacityBytes}
		if v.Method == "" {
			v.Method = api.MethodCSI
		}
		if n.EBS != nil {
			v.Region, v.Zone = n.EBS.Region, n.EBS.Zone
		}
		if f := n.File; f != nil && f.Complete {
			v.Files = &Files{Repository: f.Repository, Tree: f.Tree}
			if f.Size != nil {
				v.Files.Bytes = f.Size.Value()
			}
		}
		m.Nodes = append(m.Nodes, v)
	}
	if r.Release != nil {
		open := *r.Release
		open.Values = nil
		m.Release = &open
	}
	return m
}
