package dist

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
)

// The two messages of epmd that matter: "which port has this name" and its answer.
const (
	epmdPortReq  = 122
	epmdPortResp = 119
)

func serveEPMD(l net.Listener, alive string, port int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go answerEPMD(c, alive, port)
	}
}

func answerEPMD(c net.Conn, alive string, port int) {
	defer c.Close() //nolint:errcheck // one answer per connection
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	req := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, req); err != nil || len(req) == 0 || req[0] != epmdPortReq {
		return
	}
	if string(req[1:]) != alive {
		c.Write([]byte{epmdPortResp, 1}) //nolint:errcheck // the asker sees the connection end
		return
	}
	out := []byte{epmdPortResp, 0, byte(port >> 8), byte(port), 77, 0, 0, 6, 0, 5, byte(len(alive) >> 8), byte(len(alive))}
	out = append(out, alive...)
	c.Write(append(out, 0, 0)) //nolint:errcheck
}

// lookup asks the host's port mapper for a node's port.
func lookup(ctx context.Context, host string, epmdPort int, alive string) (int, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(epmdPort)))
	if err != nil {
		return 0, err
	}
	defer c.Close() //nolint:errcheck // read to the end
	if t, ok := ctx.Deadline(); ok {
		c.SetDeadline(t) //nolint:errcheck // a TCP connection takes deadlines
	}
	req := binary.BigEndian.AppendUint16(nil, uint16(len(alive)+1))
	if _, err := c.Write(append(append(req, epmdPortReq), alive...)); err != nil {
		return 0, err
	}
	resp := make([]byte, 4)
	if _, err := io.ReadFull(c, resp[:2]); err != nil {
		return 0, err
	}
	if resp[0] != epmdPortResp || resp[1] != 0 {
		return 0, fmt.Errorf("no node %s at %s", alive, host)
	}
	if _, err := io.ReadFull(c, resp[2:]); err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(resp[2:])), nil
}
