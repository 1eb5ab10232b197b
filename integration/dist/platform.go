package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// platform is a pair of GOOS and GOARCH.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// all are those of a release.
var all = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

func parsePlatforms(names string) (platforms []platform, err error) {
	for _, name := range strings.Split(names, ",") {
		if name = strings.TrimSpace(name); name == "native" {
			name = runtime.GOOS + "/" + runtime.GOARCH
		}
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("--platforms: %q is none of %s, native", name, strings.Join(all, ", "))
		}
		system, arch, _ := strings.Cut(name, "/")
		if p := (platform{system, arch}); !slices.Contains(platforms, p) {
			platforms = append(platforms, p)
		}
	}
	return platforms, nil
}

// binary is the plugin's name there.
func (p platform) binary() string {
	if p.os == "windows" {
		return "kubectl-cht.exe"
	}
	return "kubectl-cht"
}

// completer is what kubectl runs to complete arguments of the plugin: an executable of
// that name on the PATH, which hands them to the plugin beside it.
func (p platform) completer() (name, text string) {
	if p.os == "windows" {
		return "kubectl_complete-cht.cmd", "@echo off\r\n\"%~dp0kubectl-cht.exe\" __complete %*\r\n"
	}
	return "kubectl_complete-cht", `#!/bin/sh
# kubectl runs this to complete "kubectl cht ...". It belongs on the PATH, beside kubectl-cht.
here=$(dirname "$0")
if [ -x "$here/kubectl-cht" ]; then
	exec "$here/kubectl-cht" __complete "$@"
fi
exec kubectl-cht __complete "$@"
`
}
