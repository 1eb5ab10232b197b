package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestProcessesAreKnownByTheirCommand(t *testing.T) {
	proc := t.TempDir()
	for pid, argv := range map[string][]string{
		"11": {"/cht-backup", "copier", "serve", "--data=/x"},
		"12": {"cht-backup", "controller"},
		"13": {"/bin/other", "copier"},
		"14": {""},
	} {
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"cmdline": strings.Join(argv, "\x00") + "\x00", "status": "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n", "fd/0": "", "fd/1": "", "fd/2": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := processes(proc, copierCommand); !slices.Equal(got, []int{11}) {
		t.Errorf("copiers: %v", got)
	}
	p := peaks{resident: 1 << 20, descriptors: 9}
	p.look(proc, 11)
	p.look(proc, 99) // ended
	if p.resident != 2<<20 || p.descriptors != 9 {
		t.Errorf("%+v", p)
	}
}
