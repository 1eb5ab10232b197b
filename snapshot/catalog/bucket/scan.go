package bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Scan looks for words, credentials, in every byte of every object below a catalog's
// URL and in the objects' names, as they are, unpacked, in hexadecimal and in base64. It is for
// tests of whoever writes there. The error names the objects, never a word.
func Scan(ctx context.Context, url string, words []string) error {
	b, err := Open(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(b.scan(ctx, words), b.Close())
}

func (b *Bucket) scan(ctx context.Context, words []string) error {
	var found []error
	all := b.blobs.List(nil)
	for {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return errors.Join(found...)
		}
		if err != nil {
			return b.failed("list", "", err)
		}
		text, err := b.read(ctx, o.Key, maxPlain)
		if err != nil {
			return err
		}
		text = append(text, o.Key...)
		if i, in := Contains(text, words); in {
			found = append(found, b.refuse(o.Key, fmt.Errorf("it holds credential %d of those looked for", i)))
		}
	}
}

// Contains tells whether a text holds one of words, and which: as it is, packed by
// gzip, in hexadecimal, or within base64, wherever that begins.
func Contains(text []byte, words []string) (int, bool) {
	texts := [][]byte{text}
	for at := 0; ; { // gzip may begin anywhere
		next := bytes.Index(text[at:], []byte{0x1f, 0x8b, 8})
		if next < 0 {
			break
		}
		at += next
		if zip, err := gzip.NewReader(bytes.NewReader(text[at:])); err == nil {
			zip.Multistream(false)
			plain, _ := io.ReadAll(io.LimitReader(zip, maxPlain)) // what can be read of it
			texts = append(texts, plain)
		}
		at++
	}
	for i, word := range words {
		for _, form := range forms(word) {
			for _, text := range texts {
				if bytes.Contains(text, form) {
					return i, true
				}
			}
		}
	}
	return 0, false
}

// forms are a word, it in hexadecimal, and the parts of its base64 that are the same whatever stands
// around it, for each of the three places it may begin at.
func forms(word string) [][]byte {
	all := [][]byte{[]byte(word), []byte(hex.EncodeToString([]byte(word))), fmt.Appendf(nil, "%X", word)}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			text := enc.EncodeToString(append(make([]byte, shift), word...))
			begin, end := []int{0, 2, 3}[shift], len(text)
			if (shift+len(word))%3 != 0 {
				end-- // the last character also has bits of what follows
			}
			if end-begin >= 4 {
				all = append(all, []byte(text[begin:end]))
			}
		}
	}
	return all
}
