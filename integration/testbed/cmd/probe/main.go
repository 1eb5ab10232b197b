// Command probe is what runs inside the testbed's own containers: the sandbox's
// init and the self-test's hands.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fifreeze = 0xC0045877 // FIFREEZE of linux/fs.h
	fithaw   = 0xC0045878 // FITHAW of linux/fs.h
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("pause | serve ADDRESS TEXT | write FILE TEXT | read FILE | resolve NAME | freeze DIR | thaw DIR")
	}
	switch command, rest := args[0], args[1:]; {
	case command == "pause" && len(rest) == 0:
		pause()
		return nil
	case command == "serve" && len(rest) == 2:
		return serve(rest[0], rest[1])
	case command == "write" && len(rest) == 2:
		return write(rest[0], rest[1])
	case command == "read" && len(rest) == 1:
		data, err := os.ReadFile(rest[0])
		fmt.Print(string(data))
		return err
	case command == "resolve" && len(rest) == 1:
		return resolve(rest[0])
	case command == "freeze" && len(rest) == 1:
		return ioctl(rest[0], fifreeze)
	case command == "thaw" && len(rest) == 1:
		return ioctl(rest[0], fithaw)
	}
	return fmt.Errorf("cannot %s", strings.Join(args, " "))
}

// pause waits for its end and reaps what is left to it.
func pause() {
	end := make(chan os.Signal, 1)
	children := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-end:
			return
		case <-children:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// write writes a file so that it is on the device when write returns.
func write(file, text string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// serve answers every connection with a line.
func serve(address, text string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(conn, text)
		_ = conn.Close()
	}
}

func resolve(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	fmt.Println(strings.Join(addresses, " "))
	return err
}

func ioctl(dir string, request uintptr) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, 0); errno != 0 {
		return fmt.Errorf("ioctl on %s: %w", dir, errno)
	}
	return nil
}
