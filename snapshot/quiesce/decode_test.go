package quiesce

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestDecode(t *testing.T) {
	held := protocol.Message{State: protocol.Held, Micros: 7}
	for _, tt := range []struct {
		name, in string
		want     []protocol.Message
	}{
		{"lines", "{\"state\":\"ready\"}\n{\"state\":\"held\",\"micros\":7}\n", []protocol.Message{{State: protocol.Ready}, held}},
		{"a shell's complaint between", "sh: 1: kill: No such process\n{\"state\":\"held\",\"micros\":7}\n", []protocol.Message{held}},
		{"JSON that is no message", "{}\n[1]\nnull\n\"held\"\n{\"State\":\"\"}\n{\"state\":\"held\",\"micros\":7}\n", []protocol.Message{held}},
		{"wrong types", "{\"state\":7}\n{\"state\":\"held\",\"micros\":\"x\"}\n{\"state\":\"held\",\"micros\":7}\n", []protocol.Message{held}},
		{"cut short", "{\"state\":\"held\",\"micros\":7}\n{\"state\":\"rel", []protocol.Message{held}},
		{"no newline at the end", "{\"state\":\"held\",\"micros\":7}", []protocol.Message{held}},
		{"fields of a newer version", "{\"state\":\"held\",\"micros\":7,\"nanos\":1}\n", []protocol.Message{held}},
		{"carriage returns", "{\"state\":\"held\",\"micros\":7}\r\n", []protocol.Message{held}},
		{"nothing", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []protocol.Message
			for m := range decode(strings.NewReader(tt.in)) {
				got = append(got, m)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A garbled node says nothing that could be taken for "held".
func TestNextRefusesEverythingElse(t *testing.T) {
	for _, m := range []protocol.Message{{State: protocol.Ready}, {State: protocol.Released, Held: true}, {State: protocol.Error}, {State: "heldd"}} {
		said := make(chan protocol.Message, 1)
		said <- m
		n := &Stream{node: "couchdb-1", messages: said}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := n.next(ctx, protocol.Held); reason.Of(err) == nil {
			t.Errorf("%+v was taken for held (%v)", m, err)
		}
		cancel()
	}
}

// A container that is not ours says more than any hold does: nobody waits for a reader.
func TestDecodeEndsWithAFlood(t *testing.T) {
	c := make(chan protocol.Message, 4)
	pump(strings.NewReader(strings.Repeat("{\"state\":\"ready\"}\n", 1000)), c) // returns
	n := 0
	for range c {
		n++
	}
	if n != cap(c) {
		t.Errorf("%d messages were kept", n)
	}
}
