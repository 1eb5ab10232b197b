package bounded

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	limits := Limits{Bytes: 1000, Depth: 3, Values: 10}
	for name, tt := range map[string]struct{ text, says string }{
		"all of it":           {`{"a":[1,2,[3]],"b":"x"}`, ""},
		"signs in a text":     {`{"a":"[[[[[[{,,,,,,,,,,,,\"[["}`, ""},
		"too long":            {`{"a":"` + strings.Repeat("x", 1000) + `"}`, "1000 bytes"},
		"too deep":            {`[[[[]]]]`, "deeper than 3"},
		"too many":            {`[` + strings.Repeat("0,", 10) + `0]`, "more than 10 values"},
		"too many beside":     {`[{},{},{},{},{},{}]`, "more than 10 values"},
		"cut within a string": {`{"a":"x`, ""},
	} {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(tt.text), "by bytes": iotest.OneByteReader(strings.NewReader(tt.text))} {
			got, err := io.ReadAll(Reader(in, limits))
			if (err != nil) != (tt.says != "") || err != nil && (!errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if err == nil && string(got) != tt.text {
				t.Errorf("%s %s: %q", name, how, got)
			}
		}
	}
}

// What a decoder makes of a stream is never more than the limits let through.
func TestReaderEndsADecoder(t *testing.T) {
	var got []string
	endless := io.MultiReader(strings.NewReader("["), &again{text: `"",`})
	err := json.NewDecoder(Reader(endless, Limits{Bytes: 1 << 30, Depth: 3, Values: 1000})).Decode(&got)
	if !errors.Is(err, ErrTooMuch) || len(got) > 1000 {
		t.Errorf("%d values, %v", len(got), err)
	}
}

// again gives the same text for ever.
type again struct {
	text string
	at   int
}

func (a *again) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = a.text[a.at]
		a.at = (a.at + 1) % len(a.text)
	}
	return len(b), nil
}
