package link

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// An admission is three lines of JSON on the exec stream: the server's certificate and a
// challenge; the client's certificate, and the challenge signed; and that it is admitted.
type (
	offer struct {
		Challenge   []byte `json:"challenge"`
		Certificate []byte `json:"certificate"`
		Port        int    `json:"port"`
	}
	answer struct {
		Certificate []byte `json:"certificate"`
		Signature   []byte `json:"signature"`
	}
	verdict struct {
		Admitted bool   `json:"admitted"`
		Error    string `json:"error,omitempty"`
	}
)

const (
	// admitWithin bounds one admission.
	admitWithin = 20 * time.Second
	// mostLine bounds one line of it, in bytes.
	mostLine = 16 << 10
)

func writeLine(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

func readLine(r *bufio.Reader, v any) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read an admission: %w", err)
		}
		// A shell or a runtime may have had something to say before.
		if len(line) > 0 && line[0] == '{' {
			return json.Unmarshal(line, v)
		}
	}
}

// Admit carries one admission between the exec stream it is run in and the server behind
// the socket. It waits a moment for a server that has just been started.
func Admit(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, admitWithin)
	defer cancel()
	conn, err := dialSocket(ctx, socket)
	if err != nil {
		return fmt.Errorf("reach the server of this container: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	go func() { _, _ = io.Copy(conn, in) }() // ends with the process, or the stream
	_, err = io.Copy(out, conn)
	return err
}

func dialSocket(ctx context.Context, socket string) (net.Conn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// listenSocket makes the socket for admissions, for this user alone.
func listenSocket(ctx context.Context, socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for admissions: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// askAdmission is the server's end of one admission: it gives the pin of who may speak
// from now on.
func askAdmission(conn io.ReadWriter, own *identity, port int, admit func(pin)) error {
	challenge := make([]byte, 32)
	if _, err := rand.Read(challenge); err != nil {
		return err
	}
	if err := writeLine(conn, offer{Challenge: challenge, Certificate: own.cert, Port: port}); err != nil {
		return err
	}
	var a answer
	if err := readLine(bufio.NewReaderSize(conn, mostLine), &a); err != nil {
		return err
	}
	if !signed(a.Certificate, a.Signature, challenge, pinOf(own.cert)) {
		return errors.Join(errRefused, writeLine(conn, verdict{Error: errRefused.Error()}))
	}
	admit(pinOf(a.Certificate))
	return writeLine(conn, verdict{Admitted: true})
}

// errRefused is the error of an answer that is not to this challenge.
var errRefused = errors.New("the answer does not fit the challenge: it is another admission's, or not of the certificate's owner")

// askToBeAdmitted is the client's end: it gives the server's pin and port.
func askToBeAdmitted(conn io.ReadWriter, own *identity) (server pin, port int, err error) {
	r := bufio.NewReaderSize(conn, mostLine)
	var o offer
	if err := readLine(r, &o); err != nil {
		return pin{}, 0, err
	}
	server = pinOf(o.Certificate)
	if len(o.Challenge) < 16 || len(o.Certificate) == 0 || o.Port < 1 || o.Port > 65535 {
		return pin{}, 0, errors.New("the pod's offer is none")
	}
	signature, err := own.sign(o.Challenge, server)
	if err != nil {
		return pin{}, 0, err
	}
	if err := writeLine(conn, answer{Certificate: own.cert, Signature: signature}); err != nil {
		return pin{}, 0, err
	}
	var v verdict
	if err := readLine(r, &v); err != nil {
		return pin{}, 0, err
	}
	if !v.Admitted {
		return pin{}, 0, fmt.Errorf("the pod refuses: %.500s", v.Error)
	}
	return server, o.Port, nil
}
