package project

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// Recorded gives the files of a record's project back, those of one Secret. They are there
// once the sealed Secrets are in the record.
func Recorded(r catalog.Record, secret string) ([]File, error) {
	if r.Compose == nil {
		return nil, fmt.Errorf("backup %s/%s is of no Compose project", r.Namespace, r.Name)
	}
	var found struct {
		Data map[string][]byte `json:"data"`
	}
	for _, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err == nil && o.Kind == "Secret" && o.Metadata.Name == secret {
			if json.Unmarshal(raw, &found) != nil { // the decoder's error may quote a value
				return nil, fmt.Errorf("secret %s of the record cannot be read", secret)
			}
		}
	}
	var all []File
	for _, f := range r.Compose.Files {
		if f.Secret != secret {
			continue
		}
		data, there := found.Data[f.Key]
		if !there {
			return nil, fmt.Errorf("the record does not have %s: the project's files are sealed, or were left out since there were no recipients; open them with --identity", f.Path)
		}
		all = append(all, File{Path: f.Path, Mode: fs.FileMode(f.Mode).Perm(), Data: data})
	}
	return all, nil
}
