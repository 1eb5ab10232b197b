package extract

import (
	"strings"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// ImageOf is the image that CouchDB ran when the backup was made, "" where the record
// does not say it.
func ImageOf(record catalog.Record) string {
	services := map[string]bool{}
	for _, n := range record.Nodes {
		services[n.Service] = true
	}
	for _, i := range record.Images {
		// Nouveau is another container of the same pod.
		if !services[i.Component] || strings.Contains(i.Container, "nouveau") || i.Image == "" {
			continue
		}
		if !strings.HasPrefix(i.Image, "sha256:") {
			return i.Image
		}
		// Some runtimes tell the digest alone of an image that has no tag.
		if _, id, ok := strings.Cut(i.ID, "://"); ok {
			return id
		} else if strings.Contains(i.ID, "@") {
			return i.ID
		}
	}
	return ""
}
