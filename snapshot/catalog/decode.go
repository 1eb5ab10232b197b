package catalog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/medic/cht-backup/snapshot/bounded"
)

const (
	// maxDepth of nested JSON. The deepest objects of Kubernetes, schemas left out,
	// stay below 30.
	maxDepth = 100
	// maxValues of JSON in a record: twice what 10,000 databases of 12 shards on 3
	// nodes come to. Each may take some hundred bytes of memory for two of JSON.
	maxValues = 4 << 20
)

// Encode packs a record. The same record always gives the same bytes.
func Encode(r Record) ([]byte, error) {
	r.Format = FormatVersion
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(zip).Encode(r), zip.Close()); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return packed.Bytes(), nil
}

// Decode unpacks a record, at most most bytes of it, and checks it. Whoever packed
// it may have meant harm.
func Decode(packed []byte, most int64) (Record, error) {
	plain, err := Unpack(packed, most)
	if err != nil {
		return Record{}, err
	}
	if err := bounded.Text(plain, maxDepth, maxValues); err != nil {
		return Record{}, err
	}
	// The version before all else: of a newer one, the rest may mean something else.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(plain, &version); err != nil {
		return Record{}, fmt.Errorf("decode: %w", err)
	}
	if version.Format != FormatVersion {
		return Record{}, fmt.Errorf("it has format %d, this version reads %d; use a newer cht-backup", version.Format, FormatVersion)
	}
	var r Record
	if err := json.Unmarshal(plain, &r); err != nil {
		return Record{}, fmt.Errorf("decode: %w", err)
	}
	return r, r.Check()
}

// Unpack gives what gzip packed; more than most bytes are an error.
func Unpack(packed []byte, most int64) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(zip, most+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if int64(len(plain)) > most {
		return nil, fmt.Errorf("unpack: it has more than %d bytes, which none of ours has", most)
	}
	return plain, nil
}
