package fingerprint

import (
	"encoding/binary"
	"fmt"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Print is what a backup's record holds of its documents.
type Print struct {
	Level api.Fingerprint `json:"level"`
	// Samples are living documents and their living leaf revisions, by database.
	Samples map[string]map[string][]string `json:"samples,omitempty"`
	// Databases are the digests, or why there is none.
	Databases map[string]*Database `json:"databases,omitempty"`
	// Notes say what could not be noted, and why.
	Notes []string `json:"notes,omitempty"`
}

// Database is the digest of one database at the cut.
type Database struct {
	// Since and Purged are the positions just before the cut, from which on changes
	// are left out. They are dropped once the digest is taken.
	Since  string `json:"since,omitempty"`
	Purged string `json:"purged,omitempty"`
	// Digest of Documents, deleted ones included, outside the buckets Without.
	Digest    string `json:"digest,omitempty"`
	Documents int64  `json:"documents,omitempty"`
	// Excluded is the number of documents in the buckets Without.
	Excluded int64   `json:"excluded,omitempty"`
	Without  Without `json:"without,omitempty"`
	// Missing says why there is no digest.
	Missing string `json:"missing,omitempty"`
}

// Without are buckets, two bytes each when stored.
type Without []uint16

// MarshalText packs them; JSON then carries them as a string of bytes would be.
func (w Without) MarshalText() ([]byte, error) {
	raw := make([]byte, 0, 2*len(w))
	for _, b := range w {
		raw = binary.BigEndian.AppendUint16(raw, b)
	}
	return []byte(fmt.Sprintf("%x", raw)), nil
}

// UnmarshalText is the other way round.
func (w *Without) UnmarshalText(text []byte) error {
	if len(text)%4 != 0 || len(text)/4 > Buckets {
		return fmt.Errorf("%d characters are no list of buckets", len(text))
	}
	*w = nil
	for ; len(text) > 0; text = text[4:] {
		var b uint16
		if _, err := fmt.Sscanf(string(text[:4]), "%04x", &b); err != nil {
			return fmt.Errorf("bucket %q: %w", text[:4], err)
		}
		*w = append(*w, b)
	}
	return nil
}

// Taken tells whether nothing is left to be streamed.
func (p *Print) Taken() bool {
	if p == nil {
		return true
	}
	for _, d := range p.Databases {
		if d.Digest == "" && d.Missing == "" {
			return false
		}
	}
	return true
}
