package fingerprint

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Print is what a backup's record holds of its documents.
type Print struct {
	Level api.Fingerprint `json:"level"`
	// Samples are living documents and their living leaf revisions, by database.
	Samples Sample `json:"samples,omitempty"`
	// Databases are the digests, or why there is none.
	Databases map[string]*Database `json:"databases,omitempty"`
	// Notes say what could not be noted, and why.
	Notes []string `json:"notes,omitempty"`
}

// Database is the digest of one database at the cut.
type Database struct {
	// Since and Purged are the positions just before the cut, from which on changes
	// are left out, and Created is when it was made. They are dropped once the digest
	// is taken.
	Since   string `json:"since,omitempty"`
	Purged  string `json:"purged,omitempty"`
	Created string `json:"created,omitempty"`
	// Digest of Documents, deleted ones included, outside the buckets Without.
	Digest    string `json:"digest,omitempty"`
	Documents int64  `json:"documents,omitempty"`
	// Excluded is the number of documents in the buckets Without.
	Excluded int64   `json:"excluded,omitempty"`
	Without  Without `json:"without,omitempty"`
	// Missing says why there is no digest.
	Missing string `json:"missing,omitempty"`
}

// Without are buckets that are left out.
type Without []uint16

// MarshalText packs them, four hexadecimal digits each.
func (w Without) MarshalText() ([]byte, error) {
	raw := make([]byte, 0, 2*len(w))
	for _, b := range w {
		raw = binary.BigEndian.AppendUint16(raw, b)
	}
	return hex.AppendEncode(nil, raw), nil
}

// UnmarshalText is the other way round.
func (w *Without) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw)%2 != 0 || len(raw)/2 > Buckets {
		return fmt.Errorf("%d characters are no list of buckets", len(text))
	}
	*w = nil
	for ; len(raw) > 0; raw = raw[2:] {
		*w = append(*w, binary.BigEndian.Uint16(raw))
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
