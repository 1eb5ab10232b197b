// Command couchdb-standin behaves like the CHT's CouchDB image: see package boot
// for how it runs and package node for what it serves.
package main

import (
	"os"

	"github.com/medic/cht-backup/integration/couchdb/standin/boot"
)

func main() { os.Exit(boot.Main(os.Args)) }
