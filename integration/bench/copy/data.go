package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/s2"
)

const (
	shards = 12
	// spread of what is made by hand; from there on it is repeated with other stamps.
	pattern = 16 << 20
	block   = 4096
)

// words fill the documents.
const words = "danger fever cough breathing mother child household visit weeks pregnant postnatal delivery facility referral follow task none treatment tablets zinc malaria positive negative green yellow weight height vaccine missed distance refused supervisor village phone female male birth "

// body is documents as CouchDB stores them: JSON of which half are words and half ids and
// numbers, compressed as CouchDB does.
func body() []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var out, doc []byte
	for len(out) < pattern {
		doc = fmt.Appendf(doc[:0], `{"_id":"%016x%016x","reported_date":%d,"fields":{`, r.Uint64(), r.Uint64(), r.Uint64()>>20)
		for i := range 20 + r.IntN(60) {
			at := r.IntN(len(words) - 24)
			doc = fmt.Appendf(doc, `"%d_%s":"%s","n%d":%d,`, i, words[at:at+9], words[at+9:at+24], i, r.Uint32())
		}
		out = append(out, s2.EncodeSnappy(nil, doc)...)
	}
	return out[:pattern]
}

// makeFiles makes shard files of that many bytes in all.
func makeFiles(dir string, bytes int64) error {
	content, stamp := body(), uint64(0)
	each := bytes / shards
	for i := range shards {
		path := filepath.Join(dir, "shards", fmt.Sprintf("%08x-%08x", i*0x15555555, (i+1)*0x15555555-1), "medic.1700000000.couch")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		for left := each; left > 0; {
			part := content[:min(left, pattern)]
			for at := 0; at+block <= len(part); at += block { // no two blocks are the same
				stamp++
				binary.LittleEndian.PutUint64(part[at:], stamp)
			}
			if _, err := f.Write(part); err != nil {
				_ = f.Close()
				return err
			}
			left -= int64(len(part))
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
