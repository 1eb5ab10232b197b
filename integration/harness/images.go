package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Images are names as pods use them.
type Images struct {
	Controller string // cht-backup itself
	CouchDB    string
	Tools      string
	HAProxy    string
	// What a chart installs, which gives a part an image and no arguments: the tools,
	// each as one part, and nginx.
	API, Sentinel, Healthcheck, UpgradeService, Nouveau, Nginx string
}

// Archive is a built image.
type Archive struct {
	Name string // as pods use it
	File string // an image archive
}

// kinds of image, by what Build is asked for.
const (
	imageController = "cht-backup"
	imageCouchDB    = "couchdb-standin"
	imageTools      = "cht-tools"
	imageHAProxy    = "cht-haproxy"
	imageNginx      = "cht-nginx"
)

// standIns are images of the tools that are one part each, by the subcommand. Their
// layers are the tools'.
var standIns = map[string]string{"cht-api": "api", "cht-sentinel": "sentinel", "cht-haproxy-healthcheck": "healthcheck",
	"cht-upgrade-service": "upgrade-service", "cht-couchdb-nouveau": "nouveau"}

// allImages in the order in which they are built: quick ones first.
var allImages = slices.Concat([]string{imageTools}, sorted(standIns), []string{imageHAProxy, imageNginx, imageCouchDB, imageController})

// field is where the name of an image of a kind stands.
func (i *Images) field(kind string) *string {
	return map[string]*string{imageController: &i.Controller, imageCouchDB: &i.CouchDB, imageTools: &i.Tools, imageHAProxy: &i.HAProxy, imageNginx: &i.Nginx,
		"cht-api": &i.API, "cht-sentinel": &i.Sentinel, "cht-haproxy-healthcheck": &i.Healthcheck, "cht-upgrade-service": &i.UpgradeService,
		"cht-couchdb-nouveau": &i.Nouveau}[kind]
}

// BuildImages builds all images that are out of date. COUCHDB_IMAGE replaces the
// stand-in: with an archive where such a file is, else with an image's name, for
// which there is nothing to build.
func BuildImages(ctx context.Context) (map[string]Archive, error) {
	return buildImages(ctx, allImages)
}

func buildImages(ctx context.Context, wanted []string) (map[string]Archive, error) {
	root, err := source()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	b := builder{root: root, cache: cache, testbed: filepath.Join(cache, "testbed"), compiled: map[string]bool{}}
	built := map[string]Archive{}
	err = locked(cache, func() error {
		if err := build(ctx, filepath.Join(root, "integration/testbed"), "./cmd/testbed", b.testbed); err != nil {
			return fmt.Errorf("build the testbed's command: %w", err)
		}
		for _, image := range wanted {
			a, err := b.image(ctx, image)
			if err != nil {
				return fmt.Errorf("build image %s: %w", image, err)
			}
			built[image] = a
		}
		return nil
	})
	return built, err
}

// builder builds images into a cache.
type builder struct {
	root, cache, testbed string
	compiled             map[string]bool // in this run
}

func (b builder) image(ctx context.Context, image string) (Archive, error) {
	if subcommand := standIns[image]; subcommand != "" {
		return b.toolsImage(ctx, image, subcommand)
	}
	switch image {
	case imageController:
		binary := filepath.Join(b.cache, "cht-backup")
		if err := build(ctx, b.root, "./cmd/cht-backup", binary); err != nil {
			return Archive{}, err
		}
		return b.write(ctx, "cht-backup:test", recipe{Files: map[string]string{"/cht-backup": binary}, Dirs: []string{"/tmp:1777"},
			Entrypoint: []string{"/cht-backup"}, User: "65532:65532"})
	case imageTools:
		return b.toolsImage(ctx, image)
	case imageHAProxy:
		return b.haproxy(ctx)
	case imageNginx:
		return b.nginx(ctx)
	case imageCouchDB:
		return b.couchDB(ctx)
	}
	return Archive{}, fmt.Errorf("no such image")
}

func (b builder) tools(ctx context.Context) (string, error) {
	binary := filepath.Join(b.cache, "cht-tools")
	if b.compiled[binary] {
		return binary, nil
	}
	b.compiled[binary] = true
	return binary, build(ctx, b.root, "./integration/cht/cmd/cht-tools", binary)
}

func (b builder) toolsImage(ctx context.Context, name string, subcommand ...string) (Archive, error) {
	binary, err := b.tools(ctx)
	if err != nil {
		return Archive{}, err
	}
	return b.write(ctx, name+":test", recipe{Files: map[string]string{"/cht-tools": binary}, Dirs: []string{"/tmp:1777"},
		Entrypoint: append([]string{"/cht-tools"}, subcommand...)})
}

func (b builder) couchDB(ctx context.Context) (Archive, error) {
	if given := os.Getenv("COUCHDB_IMAGE"); given != "" {
		if info, err := os.Stat(given); err == nil && info.Mode().IsRegular() {
			file, err := filepath.Abs(given)
			return Archive{File: file}, err // its name is known once it is loaded
		}
		return Archive{Name: given}, nil
	}
	binary := filepath.Join(b.cache, "couchdb-standin")
	if err := build(ctx, b.root, "./integration/couchdb/cmd/couchdb-standin", binary); err != nil {
		return Archive{}, err
	}
	// The binary says itself what its image is made of.
	var text strings.Builder
	if err := run(ctx, b.cache, &text, binary, "-image-spec"); err != nil {
		return Archive{}, err
	}
	var spec struct {
		Binary, Busybox      string
		Links, Files         map[string]string
		Applets, Dirs        []string
		Entrypoint, Cmd, Env []string
	}
	if err := json.Unmarshal([]byte(text.String()), &spec); err != nil {
		return Archive{}, fmt.Errorf("read the stand-in's image specification: %w", err)
	}
	busybox, err := b.busybox(ctx)
	if err != nil {
		return Archive{}, err
	}
	r := recipe{Files: map[string]string{spec.Binary: binary, spec.Busybox: busybox}, Links: map[string]string{}, Texts: spec.Files, Dirs: spec.Dirs,
		Entrypoint: spec.Entrypoint, Cmd: spec.Cmd, Env: spec.Env}
	for path, target := range spec.Links {
		r.Links[path] = target
	}
	for _, path := range spec.Applets {
		r.Links[path] = spec.Busybox
	}
	return b.write(ctx, "couchdb-standin:test", r)
}

// busybox is Debian's static one.
func (b builder) busybox(ctx context.Context) (string, error) {
	rootfs, err := b.unpack(ctx, "busybox-static")
	if err != nil {
		return "", err
	}
	for _, path := range []string{"bin/busybox", "usr/bin/busybox"} {
		if file := filepath.Join(rootfs, path); exists(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("package busybox-static has no busybox")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sorted gives a map's keys in order, so that equal recipes are equal images.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
