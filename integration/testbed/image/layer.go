package image

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Layer is the content of an image, by absolute path.
type Layer struct{ entries map[string]entry }

type entry struct {
	header tar.Header
	source string // host file with the content
}

// AddFile takes a host file in; mode 0 keeps the file's own.
func (l *Layer) AddFile(host, target string, mode fs.FileMode) error {
	info, err := os.Stat(host)
	if err != nil {
		return fmt.Errorf("add file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("add file: %s is no regular file", host)
	}
	if mode == 0 {
		mode = info.Mode().Perm()
	}
	return l.add(target, entry{source: host, header: tar.Header{Typeflag: tar.TypeReg, Size: info.Size(), Mode: int64(mode)}})
}

// AddDir makes a directory.
func (l *Layer) AddDir(target string, mode fs.FileMode) error {
	return l.add(target, entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: int64(mode)}})
}

// AddLink makes a symbolic link at path to target.
func (l *Layer) AddLink(target, at string) error {
	return l.add(at, entry{header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}})
}

// AddTree takes in everything below a host directory with its owners and modes,
// but for sockets and devices.
func (l *Layer) AddTree(root string) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		kind := info.Mode().Type()
		if kind&^(fs.ModeDir|fs.ModeSymlink) != 0 {
			return nil
		}
		link := ""
		if kind == fs.ModeSymlink {
			if link, err = os.Readlink(p); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		e := entry{header: tar.Header{Typeflag: header.Typeflag, Linkname: link, Size: header.Size, Mode: header.Mode}}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			e.header.Uid, e.header.Gid = int(st.Uid), int(st.Gid)
		}
		if kind == 0 {
			e.source = p
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return l.add("/"+rel, e)
	})
}

func (l *Layer) add(target string, e entry) error {
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return fmt.Errorf("path in the image %q: must be absolute", target)
	}
	if l.entries == nil {
		l.entries = map[string]entry{}
	}
	l.entries[path.Clean(target)] = e
	return nil
}

// write writes the layer as a tar: by path, without times, parents first.
func (l *Layer) write(w io.Writer) error {
	all := map[string]entry{}
	for p, e := range l.entries {
		all[p] = e
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if _, ok := l.entries[dir]; !ok {
				all[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
	}
	paths := make([]string, 0, len(all))
	for p := range all {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	archive := tar.NewWriter(w)
	for _, p := range paths {
		e := all[p]
		e.header.Name = strings.TrimPrefix(p, "/")
		if e.header.Typeflag == tar.TypeDir {
			e.header.Name += "/"
		}
		e.header.ModTime = time.Unix(0, 0)
		if err := archive.WriteHeader(&e.header); err != nil {
			return fmt.Errorf("add %s: %w", p, err)
		}
		if e.source != "" {
			if err := copyFile(archive, e.source); err != nil {
				return fmt.Errorf("add %s: %w", p, err)
			}
		}
	}
	return archive.Close()
}

func copyFile(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(w, f)
	return err
}

// ParseMode reads an octal mode.
func ParseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("mode %q: %w", s, err)
	}
	return fs.FileMode(n), nil
}
