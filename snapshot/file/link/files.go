package link

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// mostFiles is how many files a node's list has at most: as many as a tree.
const mostFiles = 1 << 20

// listed are the bounds of a list of files, each with five values.
var listed = bounded.Limits{Bytes: 128 << 20, Depth: 8, Values: 6*mostFiles + 16}

// decodeFiles reads a list of files one by one: as a whole its text would be held as well,
// which is three times what it says.
func decodeFiles(in *json.Decoder) (got reply[[]tree.Meta], err error) {
	if err := delim(in, '{'); err != nil {
		return got, err
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return got, err
		}
		switch key {
		case "value":
			got.Value, err = fileList(in)
		case "problem":
			err = in.Decode(&got.Problem)
		default:
			err = fmt.Errorf("%v is not known", key)
		}
		if err != nil {
			return got, err
		}
	}
	return got, delim(in, '}')
}

func fileList(in *json.Decoder) (files []tree.Meta, err error) {
	first, err := in.Token()
	if err != nil || first == nil { // null is none
		return nil, err
	}
	if first != json.Delim('[') {
		return nil, errors.New("the list of files is none")
	}
	for in.More() {
		if len(files) == mostFiles {
			return nil, fmt.Errorf("%w: more than %d files", bounded.ErrTooMuch, mostFiles)
		}
		var f tree.Meta
		if err := in.Decode(&f); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, delim(in, ']')
}

func delim(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v should be", got, want)
	}
	return err
}
