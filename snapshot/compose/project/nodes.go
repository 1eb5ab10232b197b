package project

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// couch are the names that CouchDB's services have in the CHT's compose files: couchdb,
// couchdb-1.local, and in older ones couchdb.1.
var couch = regexp.MustCompile(`^couchdb(?:[-.]?([1-9][0-9]*))?(?:\.local)?$`)

// IsCouchDB tells whether a service of that name is a CouchDB node.
func IsCouchDB(service string) bool { return couch.MatchString(service) }

// Couch is a CouchDB node under both its names.
type Couch struct {
	// Service is what it would be on Kubernetes, the value of cht.service: couchdb, or
	// couchdb-N. Compose is the name of its service.
	Service, Compose string
}

// Nodes orders the CouchDB services among names, and refuses if one of a cluster is
// missing: it would be a share of all data.
func Nodes(services []string) ([]Couch, error) {
	numbers := map[int]string{}
	var all []int
	for _, name := range services {
		m := couch.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1]) // "" is the only one
		if other, twice := numbers[n]; twice && other != name {
			return nil, reason.Refuse(api.ReasonInstanceIncomplete, "the services %s and %s are both CouchDB node %d", other, name, n)
		}
		if _, there := numbers[n]; !there {
			all = append(all, n)
		}
		numbers[n] = name
	}
	slices.Sort(all)
	switch {
	case len(all) == 0:
		return nil, reason.Refuse(api.ReasonNoInstance, "there is no CouchDB: no service of the project is called couchdb or couchdb-N.local (there are: %s)", strings.Join(services, ", "))
	case len(all) == 1:
		return []Couch{{"couchdb", numbers[all[0]]}}, nil
	}
	var nodes []Couch
	for i, n := range all {
		if n != i+1 {
			return nil, reason.Refuse(api.ReasonInstanceIncomplete, "there are the CouchDB services %s but no couchdb-%d.local; a backup without it would lack its shards", strings.Join(services, ", "), i+1)
		}
		nodes = append(nodes, Couch{fmt.Sprintf("couchdb-%d", n), numbers[n]})
	}
	return nodes, nil
}

// roles are the components of a CHT, by what their services are called in compose files.
var roles = map[string]string{
	"haproxy": "haproxy", "healthcheck": "healthcheck", "cht-api": "api", "api": "api", "cht-sentinel": "sentinel", "sentinel": "sentinel",
	"cht-nginx": "nginx", "nginx": "nginx", "nouveau": "nouveau", "cht-upgrade-service": "upgrade-service",
}

// Component is the value of cht.service that a service would have, "" for one that is no
// part of a CHT.
func Component(service string) string {
	if IsCouchDB(service) {
		return "couchdb"
	}
	return roles[service]
}
