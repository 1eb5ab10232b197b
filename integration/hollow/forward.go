package hollow

import (
	"io"
	"net"
	"sync"
)

// forward connects whoever calls l with an address, until l is closed: many pods may
// have one server.
func forward(l net.Listener, to string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer func() { _ = from.Close() }()
			there, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer func() { _ = there.Close() }()
			var both sync.WaitGroup
			copied := func(into, out net.Conn) {
				_, _ = io.Copy(into, out) // the end of either ends both
				_ = into.Close()
				_ = out.Close()
			}
			both.Go(func() { copied(there, from) })
			both.Go(func() { copied(from, there) })
			both.Wait()
		}()
	}
}
