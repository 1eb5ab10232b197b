package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// hold opens a stream to each of n nodes of this process, which hold nothing.
func hold(ctx context.Context, n int) ([]*quiesce.Stream, error) {
	var streams []*quiesce.Stream
	for i := range n {
		commands, input := io.Pipe()
		output, says := io.Pipe()
		go node(commands, says)
		s, err := quiesce.Talk(ctx, fmt.Sprintf("couchdb-%d", i+1), input, output)
		if err != nil {
			quiesce.CloseAll(streams)
			return nil, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// node answers as a freezer does, at once.
func node(commands io.Reader, says io.WriteCloser) {
	defer func() { _ = says.Close() }()
	out := json.NewEncoder(says)
	if out.Encode(protocol.Message{State: protocol.Ready}) != nil {
		return
	}
	for lines := bufio.NewScanner(commands); lines.Scan(); {
		m := protocol.Message{State: protocol.Held}
		if lines.Text() == protocol.Release {
			m = protocol.Message{State: protocol.Released, Held: true}
		}
		if out.Encode(m) != nil {
			return
		}
	}
}
