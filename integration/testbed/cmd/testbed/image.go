package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/medic/cht-backup/integration/testbed/cluster"
	"github.com/medic/cht-backup/integration/testbed/image"
)

func imageLoad(ctx context.Context, bed *cluster.Testbed, files []string) error {
	for _, file := range files {
		names, err := bed.LoadImage(ctx, file)
		if err != nil {
			return err
		}
		for _, name := range names {
			fmt.Println(name)
		}
	}
	return nil
}

func imageBuild(args []string) error {
	var layer image.Layer
	var config image.Config
	flags := flag.NewFlagSet("image build", flag.ExitOnError)
	name := flags.String("name", "", "`NAME:TAG` of the image")
	out := flags.String("out", "", "`FILE.tar` to write")
	flags.Func("rootfs", "take in everything below this `DIR`", layer.AddTree)
	flags.Func("file", "`HOSTPATH=/PATH[:MODE]`, repeatable", func(s string) error { return addFile(&layer, s) })
	flags.Func("link", "`TARGET=/PATH`: a symbolic link at PATH, repeatable", func(s string) error {
		target, at, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("not TARGET=/PATH")
		}
		return layer.AddLink(target, at)
	})
	flags.Func("dir", "`/PATH[:MODE]`, repeatable", func(s string) error {
		path, mode, ok := strings.Cut(s, ":")
		if !ok {
			mode = "755"
		}
		m, err := image.ParseMode(mode)
		if err != nil {
			return err
		}
		return layer.AddDir(path, m)
	})
	flags.Func("entrypoint", "`JSON` list of strings", list(&config.Entrypoint))
	flags.Func("cmd", "`JSON` list of strings", list(&config.Cmd))
	flags.Func("env", "`K=V`, repeatable", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("not K=V")
		}
		config.Env = append(config.Env, s)
		return nil
	})
	flags.StringVar(&config.User, "user", "", "`UID[:GID]`")
	flags.StringVar(&config.WorkingDir, "workdir", "", "working `DIR`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *out == "" || flags.NArg() > 0 {
		return errors.New("image build: give --name, --out and no other arguments")
	}
	file, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	return image.Build(file, *name, &layer, config)
}

func addFile(layer *image.Layer, s string) error {
	host, at, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("not HOSTPATH=/PATH[:MODE]")
	}
	at, mode, ok := strings.Cut(at, ":")
	if !ok {
		mode = "0"
	}
	m, err := image.ParseMode(mode)
	if err != nil {
		return err
	}
	return layer.AddFile(host, at, m)
}

func list(to *[]string) func(string) error {
	return func(s string) error { return json.Unmarshal([]byte(s), to) }
}
