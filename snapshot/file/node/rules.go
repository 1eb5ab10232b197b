package node

import "github.com/medic/cht-backup/snapshot/file/tree"

const (
	dataPrefix   = tree.Data
	configPrefix = tree.Config
)
