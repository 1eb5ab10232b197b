package main

import (
	"encoding/base64"
	"fmt"
)

// shares of the documents that the databases have, in thousandths: as in a CHT most
// are in one.
var shares = []struct {
	name string
	of   int
}{{"medic", 800}, {"medic-sentinel", 150}, {"medic-users-meta", 40}, {"medic-logs", 10}}

// One of so many documents is deleted, has an attachment, or is in conflict.
const (
	deletedOf    = 97
	attachmentOf = 499
	conflictOf   = 997
)

// split gives how many of n documents each database has.
func split(n int) []int {
	parts, left := make([]int, len(shares)), n
	for i := len(shares) - 1; i > 0; i-- {
		parts[i] = n * shares[i].of / 1000
		left -= parts[i]
	}
	parts[0] = left
	return parts
}

func id(i int) string { return fmt.Sprintf("%08x-4f1e-4c3a-9d2b-%012d", uint32(i)*2654435761, i) }

// document number i of a database, as it is written.
func document(i int) map[string]any {
	doc := map[string]any{"_id": id(i), "type": "data_record", "form": "home_visit", "reported_date": 1_700_000_000_000 + i,
		"fields": map[string]any{"patient_id": fmt.Sprint(10_000 + i), "note": "all is well with mother and child"}}
	switch {
	case i%deletedOf == 1:
		return map[string]any{"_id": id(i), "_deleted": true}
	case i%attachmentOf == 2:
		doc["_attachments"] = map[string]any{"content": map[string]any{"content_type": "application/octet-stream",
			"data": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "attachment of document %d", i))}}
	}
	return doc
}

// conflict is another revision of document number i, nil for most.
func conflict(i int) map[string]any {
	if i%conflictOf != 3 || i%deletedOf == 1 {
		return nil
	}
	return map[string]any{"_id": id(i), "_rev": "1-" + fmt.Sprintf("%032d", i), "type": "data_record", "note": "written on a phone that was offline"}
}

// attachments there are among the first n documents of a database.
func attachments(n int) int {
	all := 0
	for i := range n {
		if i%attachmentOf == 2 && i%deletedOf != 1 {
			all++
		}
	}
	return all
}
