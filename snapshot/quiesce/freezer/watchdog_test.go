package freezer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// watching is one watchOne under test and the holder's end of its connection.
type watching struct {
	conn net.Conn
	done chan struct{}
}

func startWatch(t *testing.T, device Device, first string) watching {
	t.Helper()
	holder, dog := net.Pipe()
	w := watching{conn: holder, done: make(chan struct{})}
	go func() { defer close(w.done); watchOne(dog, device) }()
	t.Cleanup(func() { _ = holder.Close(); <-w.done })
	if first == "" {
		return w
	}
	if _, err := io.WriteString(holder, first+"\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := bufio.NewReader(holder).ReadString('\n'); err != nil || answer != "armed\n" {
		t.Fatalf("the watchdog answered %q, %v", answer, err)
	}
	return w
}

func TestWatchThaws(t *testing.T) {
	tests := []struct {
		name string
		end  func(w watching)
		at   time.Duration // on the bubble's clock
	}{
		{name: "lost connection", end: func(w watching) { _ = w.conn.Close() }},
		{name: "a word nobody knows", end: func(w watching) { _, _ = io.WriteString(w.conn, "dis\n") }},
		{name: "deadline", end: func(watching) {}, at: 700 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := &fakeDevice{thaws: make(chan error, 1000)}
				w := startWatch(t, device, "arm 700")
				device.setFrozen(true)
				began := time.Now()
				tt.end(w)
				if err := <-device.thaws; err != nil {
					t.Errorf("thaw: %v", err)
				}
				if took := time.Since(began); took != tt.at {
					t.Errorf("thawed after %s, want %s", took, tt.at)
				}
			})
		})
	}
}

// The holder is inside FIFREEZE when the deadline passes: the first thaw finds
// nothing, and the freeze takes hold after it.
func TestWatchThawsAFreezeThatEndsAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &fakeDevice{thaws: make(chan error, 1000)}
		startWatch(t, device, "arm 700")
		if err := <-device.thaws; !errors.Is(err, ErrNotFrozen) {
			t.Fatalf("first thaw: %v", err)
		}
		device.setFrozen(true)
		late := time.Now()
		if err := <-device.thaws; err != nil {
			t.Errorf("second thaw: %v", err)
		}
		if took := time.Since(late); took > time.Second { // the bubble's clock
			t.Errorf("the second look came %s after the first", took)
		}
		if device.isFrozen() {
			t.Error("left frozen")
		}
	})
}

// A freeze that comes after a watch has ended belongs to another hold. couchdb.md:
// a watchdog left over from an earlier freeze thawed a later one.
func TestWatchNeverThawsALaterFreeze(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first string
		end   func(w watching)
	}{
		{"disarmed", "arm 700", func(w watching) { _, _ = io.WriteString(w.conn, "disarm\n") }},
		{"disarmed, then lost", "arm 700", func(w watching) { _, _ = io.WriteString(w.conn, "disarm\n"); _ = w.conn.Close() }},
		{"never armed", "", func(w watching) { _ = w.conn.Close() }},
		{"never armed, another word", "", func(w watching) { _, _ = io.WriteString(w.conn, "hello\n") }},
		{"lost", "arm 700", func(w watching) { _ = w.conn.Close() }},
		{"deadline, then disarmed and gone", "arm 700", func(w watching) {
			time.Sleep(time.Second)
			_, _ = io.WriteString(w.conn, "disarm\n")
			_ = w.conn.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := &fakeDevice{}
				w := startWatch(t, device, tt.first)
				tt.end(w)
				<-w.done // Watch takes the next hold only now
				device.setFrozen(true)
				time.Sleep(time.Hour)
				if !device.isFrozen() {
					t.Error("the finished watch thawed a later freeze")
				}
			})
		})
	}
}

// serve runs Watch on a socket of its own and gives a dialler and its end. It
// returns when Watch listens.
func serve(t *testing.T, device Device) (socket string, dial func() (net.Conn, *bufio.Reader), stop func() error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "dog") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	// What an earlier life of the container left behind.
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Watch(ctx, device, socket) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	dial = func() (net.Conn, *bufio.Reader) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				t.Cleanup(func() { _ = conn.Close() })
				_ = conn.SetDeadline(deadline)
				return conn, bufio.NewReader(conn)
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	conn, _ := dial()
	_ = conn.Close() // never armed
	return socket, dial, stop
}

func TestWatch(t *testing.T) {
	device := &fakeDevice{frozen: true, thaws: make(chan error, 100)}
	_, dial, stop := serve(t, device)
	if err := <-device.thaws; err != nil {
		t.Fatalf("thaw at start: %v", err)
	}

	first, said := dial()
	_, _ = io.WriteString(first, "arm 60000\n")
	if line, err := said.ReadString('\n'); line != "armed\n" {
		t.Fatalf("%q, %v", line, err)
	}
	device.setFrozen(true)

	// Two holds of one volume cannot both be right: the second is not armed
	// before the first has ended, so it cannot freeze.
	second, saidToSecond := dial()
	_, _ = io.WriteString(second, "arm 60000\n")
	_ = second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := saidToSecond.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a second hold was answered %q (%v) while the first went on", line, err)
	}
	_ = second.SetReadDeadline(time.Now().Add(20 * time.Second))
	if !device.isFrozen() {
		t.Fatal("a second hold thawed the first")
	}
	_ = first.Close()
	for range 2 { // at the loss, and once more when the connection is known to be gone
		t.Log("thaw: ", <-device.thaws)
	}
	if device.isFrozen() {
		t.Error("the lost connection did not thaw")
	}
	if line, err := saidToSecond.ReadString('\n'); line != "armed\n" {
		t.Fatalf("second hold: %q, %v", line, err)
	}
	device.setFrozen(true)
	_, _ = io.WriteString(second, "disarm\n")
	if _, err := saidToSecond.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Fatalf("after disarm: %v", err)
	}
	if !device.isFrozen() {
		t.Error("thawed after disarm")
	}
	if err := stop(); err == nil {
		t.Error("Watch ended without its context's error")
	}
	if device.isFrozen() {
		t.Error("the watchdog ended and left the volume frozen")
	}
}

func TestWatchRefusesToServeWhenItCannotThaw(t *testing.T) {
	err := Watch(t.Context(), &fakeDevice{thawErr: syscall.EPERM}, filepath.Join(t.TempDir(), "s"))
	if !errors.Is(err, syscall.EPERM) {
		t.Errorf("Watch: %v, want the thaw's error", err)
	}
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &fakeDevice{frozen: true}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Guard(ctx, device) }()
		synctest.Wait()
		if device.isFrozen() {
			t.Error("a container that starts must thaw first")
		}
		device.setFrozen(true) // a hold
		time.Sleep(time.Hour)
		if !device.isFrozen() {
			t.Error("the guard thawed in the middle of a hold")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if device.isFrozen() {
			t.Error("a container that ends must thaw")
		}
	})
	if err := Guard(t.Context(), &fakeDevice{thawErr: syscall.EIO}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Guard: %v, want the thaw's error", err)
	}
}

// A second hold is not armed, so that it cannot freeze, while the first goes on.
func TestWatchServesOneHoldAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{conns: make(chan net.Conn, 2)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- watch(ctx, &fakeDevice{}, func() (net.Listener, error) { return l, nil }) }()
		var lines [2]string
		var holds [2]net.Conn
		for i := range holds {
			hold, dog := net.Pipe()
			holds[i] = hold
			l.conns <- dog
			go func() {
				_, _ = io.WriteString(hold, "arm 60000\n")
				lines[i], _ = bufio.NewReader(hold).ReadString('\n')
			}()
			synctest.Wait()
		}
		if lines[0] != "armed\n" || lines[1] != "" {
			t.Errorf("the holds were answered %q", lines)
		}
		_ = holds[0].Close()
		synctest.Wait()
		if lines[1] != "armed\n" {
			t.Errorf("after the first had ended, the second was answered %q", lines[1])
		}
		_ = holds[1].Close()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
