package node

import (
	"strings"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

const (
	dataPrefix   = tree.Data
	configPrefix = tree.Config
	// staging is the folder of a filling, in a data directory or a local.d.
	staging = ".cht-fill"
)

// kind is what a file is to a copy.
type kind int

const (
	// unknown files are not copied; they are counted and named, since somebody may have
	// thought that they are.
	unknown kind = iota
	// remade files are not copied either: CouchDB makes them anew, or has given them up.
	remade
	// view is the index of a view. It is measured first: measured after its shard it
	// could have rows of documents that the copy of the shard has not, and would keep them
	// for ever.
	view
	// shard is a database's file, or one that is about to take its place.
	shard
	// members are _dbs and _nodes.
	members
	// config is a file of local.d. It is rewritten in place, so it is read at the cut.
	config
)

func (k kind) copied() bool { return k >= view }

// kindOf judges a file by its path in a tree.
func kindOf(path string) kind {
	if name, is := strings.CutPrefix(path, configPrefix); is {
		if strings.HasSuffix(name, ".ini") && !strings.Contains(name, "/") {
			return config
		}
		return unknown
	}
	name := path[strings.LastIndex(path, "/")+1:]
	switch {
	case !strings.HasPrefix(path, dataPrefix):
		return unknown
	case hasSuffix(name, ".compact.data", ".compact.meta", ".compact.view"):
		return remade
	case path == dataPrefix+"_dbs.couch", path == dataPrefix+"_nodes.couch":
		return members
	// Between the two renames that end a compaction X.couch.compact is the only copy of
	// the shard. CouchDB takes it when it starts and finds no X.couch.
	case hasSuffix(name, ".couch", ".couch.compact"):
		return shard
	case hasSuffix(name, ".view"):
		return view
	default:
		return unknown
	}
}

func hasSuffix(name string, suffixes ...string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) && name != s {
			return true
		}
	}
	return false
}

// skipped tells of a folder's name that nothing below it is looked at: what CouchDB has
// deleted and not yet removed, what file systems keep for themselves, what a filling left.
func skipped(name string) bool {
	return name == ".delete" || name == "lost+found" || name == staging
}

// indexes tells from one of its names that a folder is the index of a full-text search,
// which is built anew.
func indexes(name string) bool {
	return name == "write.lock" || name == "index_definition.json" || strings.HasPrefix(name, "segments_")
}

// hidden tells of a folder's name that it has views: CouchDB keeps those of db in .db_design,
// those of shards in .shards.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }
