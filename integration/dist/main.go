package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// release is what is made.
type release struct {
	version, base, homepage, out, root string
	platforms                          []platform
	say                                func(format string, args ...any)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{root: ".", say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
	var names string
	flag.StringVar(&r.version, "version", "", "version, such as v0.1.0")
	flag.StringVar(&r.base, "base-url", "", "URL prefix under which the archives will lie; without one no manifest is written")
	flag.StringVar(&r.homepage, "homepage", "", "URL of the project, for the manifest; optional")
	flag.StringVar(&r.out, "out", "dist", "where the files go")
	flag.StringVar(&names, "platforms", strings.Join(all, ","), "`OS/ARCH,…`, or native")
	flag.Parse()
	var err error
	if r.platforms, err = parsePlatforms(names); err == nil {
		err = r.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// versionForm is what krew takes, and what Go's linker gets.
var versionForm = regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$`)

func (r release) check() error {
	if !versionForm.MatchString(r.version) {
		return fmt.Errorf("--version %q is not of the form v1.2.3", r.version)
	}
	for name, text := range map[string]string{"base-url": r.base, "homepage": r.homepage} {
		u, err := url.Parse(text)
		switch {
		case text == "":
		case err != nil:
			return fmt.Errorf("--%s: %w", name, err)
		case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("--%s %q is not https://HOST/PATH", name, text)
		}
	}
	if len(r.platforms) == 0 {
		return errors.New("--platforms names none")
	}
	return nil
}

// run makes all files.
func (r release) run(ctx context.Context) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	var made []archive
	for _, p := range r.platforms {
		begun := time.Now()
		a, err := r.pack(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		r.say("%s  %d bytes, %s", a.name, a.size, time.Since(begun).Round(time.Second))
		made = append(made, a)
	}
	if err := os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), sums(made), 0o600); err != nil {
		return err
	}
	if r.base == "" {
		r.say("no manifest: give --base-url")
		return nil
	}
	text, err := r.manifest(made)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, pluginName+".yaml"), text, 0o600)
}

func sums(made []archive) []byte {
	var text strings.Builder
	for _, a := range made {
		fmt.Fprintf(&text, "%s  %s\n", a.sum, a.name) // as sha256sum -c reads it
	}
	return []byte(text.String())
}
