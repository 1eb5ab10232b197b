package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	schedule "github.com/medic/cht-backup/schedule/compose"
)

const composePage = "../../docs/compose.md"

// blocks gives the code of a language on the page.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(composePage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s has no block of %s any more", composePage, language)
	}
	return all
}

// subcommand finds `compose NAME`.
func subcommand(t *testing.T, name string) *cobra.Command {
	t.Helper()
	for _, c := range composeCommand().Commands() {
		if c.Name() == name {
			return c
		}
	}
	t.Fatalf("there is no command compose %s", name)
	return nil
}

// What the page says is there: commands, flags, and what systemd's units hold.
func TestComposePage(t *testing.T) {
	seen := 0
	call := regexp.MustCompile(`cht-backup compose ([a-z]+)([^\n]*)`)
	flag := regexp.MustCompile(`--([a-z-]+)`)
	for _, block := range append(blocks(t, "sh"), blocks(t, "ini")...) {
		for _, m := range call.FindAllStringSubmatch(block, -1) {
			seen++
			c := subcommand(t, m[1])
			for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
				if c.Flags().Lookup(f[1]) == nil {
					t.Errorf("compose %s has no flag --%s", m[1], f[1])
				}
			}
		}
	}
	if seen < 6 {
		t.Errorf("%d commands were found: they are not read any more", seen)
	}
	text, err := os.ReadFile(composePage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)`").FindAllStringSubmatch(string(text), -1) {
		if subcommand(t, "backup").Flags().Lookup(m[1]) == nil {
			t.Errorf("compose backup has no flag --%s", m[1])
		}
	}
	for _, block := range blocks(t, "yml") {
		values := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(block), &values); err != nil {
			t.Fatal(err)
		}
		for name := range values {
			if subcommand(t, "backup").Flags().Lookup(name) == nil {
				t.Errorf("compose backup has no flag --%s", name)
			}
		}
	}
	units, err := schedule.Timer{Name: "cht-backup-compose", Program: "/usr/local/bin/cht-backup", Arguments: []string{"--config", "/etc/cht-backup/compose.yaml"}, OnCalendar: "*-*-* 01:30:00 Africa/Nairobi", Spread: "30m"}.Units()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(blocks(t, "ini")[0]) {
		if line = strings.TrimSpace(line); strings.Contains(line, "=") && !strings.Contains(units[0].Text+units[1].Text, line+"\n") {
			t.Errorf("the units do not have %s", line)
		}
	}
}

// The file gives what the command line leaves out, and no flag that is not there.
func TestComposeConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(args ...string) (*composeBackup, error) {
		f := &composeBackup{}
		c := &cobra.Command{}
		f.add(c.Flags())
		if err := c.ParseFlags(append(args, "--config", file)); err != nil {
			t.Fatal(err)
		}
		return f, f.fromFile(c.Flags())
	}
	write("project: /srv/cht\nkeep-daily: 7\nrecipients: [age1a, age1b]\nmax-stall: 1s\n")
	f, err := read("--project", "/other")
	if err != nil || f.dir != "/other" || *f.keeps["daily"] != 7 || strings.Join(f.recipients, " ") != "age1a age1b" || f.maxStall.Seconds() != 1 {
		t.Errorf("read %+v %v", f, err)
	}
	for text, says := range map[string]string{"keep-dayly: 7\n": "keep-dayly", "keep-daily: many\n": "keep-daily", "a: [": "YAML", "project: a\nproject: b\n": "YAML"} {
		write(text)
		if _, err := read(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	write("project: /srv/cht\nkeep-daily: 7\n")
	resume := subcommand(t, "resume")
	rf := &composeFlags{file: file}
	if err := rf.fromFile(resume.Flags()); err != nil {
		t.Errorf("what another command reads: %v", err)
	}
}

func TestUnitsRefuse(t *testing.T) {
	good := schedule.Timer{Name: "a", Program: "/b", OnCalendar: "daily", Spread: "1h"}
	if u, err := good.Units(); err != nil || len(u) != 2 || u[0].Name != "a.service" {
		t.Errorf("%v %v", u, err)
	}
	quoted := good
	quoted.Arguments = []string{"--config", `/etc/my "100%" $file`}
	if u, err := quoted.Units(); err != nil || !strings.Contains(u[0].Text, `ExecStart=/b compose backup --config "/etc/my \"100%%\" $$file"`) {
		t.Errorf("%v %v", u, err)
	}
	for name, change := range map[string]func(*schedule.Timer){
		"a name":      func(t *schedule.Timer) { t.Name = "../a" },
		"a time":      func(t *schedule.Timer) { t.OnCalendar = "daily\nExecStart=/bin/sh" },
		"an argument": func(t *schedule.Timer) { t.Arguments = []string{"a\nb"} },
	} {
		bad := good
		if change(&bad); bad.Name == "" {
			t.Fatal(name)
		}
		if _, err := bad.Units(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
