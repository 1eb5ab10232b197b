package node

import (
	"fmt"
	"path"
	"strings"
)

// Layout is where a node's files lie.
type Layout struct {
	// Volume is the directory that Data and Config are relative to. No symbolic link is
	// followed below it, for what is there belongs to CouchDB. With "" they are paths of
	// their own, taken as they are: directories of an administrator's own machine.
	Volume string
	// Data is CouchDB's data directory; "" is the volume's root.
	Data string
	// Config is its local.d. It counts only with HasConfig.
	Config    string
	HasConfig bool
}

// place is a directory as Layout means it: root is trusted, below it nothing is.
type place struct {
	// prefix of the paths in a tree.
	prefix     string
	root, path string
}

func (l Layout) places() ([]place, error) {
	var places []place
	add := func(prefix, dir string) error {
		if l.Volume == "" {
			if dir == "" {
				return fmt.Errorf("no directory is given for %s of CouchDB", strings.TrimSuffix(prefix, "/"))
			}
			places = append(places, place{prefix: prefix, root: dir})
			return nil
		}
		below := path.Clean("/" + dir)[1:]
		if below != strings.Trim(dir, "/") && dir != "." {
			return fmt.Errorf("%q is no path below the volume", dir)
		}
		places = append(places, place{prefix: prefix, root: l.Volume, path: below})
		return nil
	}
	if err := add(dataPrefix, l.Data); err != nil {
		return nil, err
	}
	if l.HasConfig {
		if err := add(configPrefix, l.Config); err != nil {
			return nil, err
		}
	}
	return places, nil
}
