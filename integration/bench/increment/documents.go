package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// documents makes reports and contacts as a CHT has them: 1 to 4 KB of JSON of which
// much repeats (names of fields, words) and much does not (ids, times, numbers), one in
// a hundred with a photograph.
type documents struct {
	r    *rand.Rand
	made int
}

func newDocuments(seed uint64) *documents { return &documents{r: rand.New(rand.NewPCG(seed, 7))} }

var words = strings.Fields(`danger sign fever cough breathing fast mother child household visit weeks pregnant
	postnatal delivery facility referral follow up task yes no none treatment given tablets zinc ors malaria test
	positive negative muac green yellow red weight height vaccine opv penta measles bcg due given missed reason
	distance cost refused absent moved died other supervisor village zone ward name phone sex female male date birth`)

func (d *documents) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", d.r.Uint32(), d.r.Uint32()&0xffff, d.r.Uint32()&0xfff, d.r.Uint32()&0xfff, d.r.Uint64()&0xffffffffffff)
}

func (d *documents) word() string { return words[d.r.IntN(len(words))] }

func (d *documents) lineage() map[string]any {
	return map[string]any{"_id": d.uuid(), "parent": map[string]any{"_id": d.uuid(), "parent": map[string]any{"_id": d.uuid()}}}
}

// one makes the next document.
func (d *documents) one() map[string]any {
	d.made++
	doc := map[string]any{"_id": d.uuid(), "reported_date": 1_700_000_000_000 + d.r.Int64N(60_000_000_000)}
	if d.made%5 == 0 {
		doc["type"], doc["contact_type"], doc["parent"] = "contact", "person", d.lineage()
		doc["name"], doc["phone"] = d.word()+" "+d.word(), fmt.Sprintf("+2547%08d", d.r.IntN(100_000_000))
	} else {
		doc["type"], doc["form"], doc["contact"] = "data_record", d.word()+"_"+words[d.made%7], d.lineage()
		doc["from"], doc["content_type"] = fmt.Sprintf("+2547%08d", d.r.IntN(100_000_000)), "xml"
		doc["geolocation"] = map[string]any{"latitude": d.r.Float64(), "longitude": d.r.Float64(), "accuracy": d.r.Float64() * 30}
	}
	fields := map[string]any{"patient_id": d.r.IntN(1_000_000), "patient_uuid": d.uuid()}
	for range 20 + d.r.IntN(60) {
		var value any
		switch d.r.IntN(4) {
		case 0:
			value = d.r.IntN(2) == 0
		case 1:
			value = fmt.Sprintf("%d.%d", d.r.IntN(200), d.r.IntN(10))
		case 2:
			value = d.word()
		default:
			value = d.word() + " " + d.word() + " " + d.word()
		}
		fields[d.word()+"_"+d.word()] = value
	}
	doc["fields"] = fields
	if d.made%100 == 1 {
		photo := make([]byte, 20_000+d.r.IntN(60_000))
		for i := range photo { // as good as a photograph: nothing makes it smaller
			photo[i] = byte(d.r.Uint32())
		}
		doc["_attachments"] = map[string]any{"photo.jpg": map[string]any{"content_type": "image/jpeg", "data": base64.StdEncoding.EncodeToString(photo)}}
	}
	return doc
}
