package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the table of settings into docs/settings.md")

const (
	settingsPage = "../../docs/settings.md"
	tableBegins  = "<!-- settings: begin -->\n"
	tableEnds    = "<!-- settings: end -->"
)

// byChart are the settings that the chart gives, each from a value or a fact of its own: in
// `config` they would be a second place for one thing.
var byChart = map[string]string{
	"image": "`image`", "namespace": "where it is installed", "name": "the full name", "namespaces": "`namespaces`", "rbac-scope": "`rbac.scope`",
}

// flagsOf are the settings, which are the controller's flags but the file's.
func flagsOf() (all []*pflag.Flag) {
	controllerCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			all = append(all, f)
		}
	})
	return all
}

// Each flag is a field that is read, and no field is without a flag: viper says nothing of
// either.
func TestSettingsAreRead(t *testing.T) {
	fields := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		for i := range of.NumField() {
			tag := of.Field(i).Tag.Get("mapstructure")
			if tag == ",squash" {
				walk(of.Field(i).Type)
				continue
			}
			fields[tag] = true
		}
	}
	walk(reflect.TypeFor[config]())
	for _, f := range flagsOf() {
		if !fields[f.Name] {
			t.Errorf("flag %s is read into nothing", f.Name)
		}
		delete(fields, f.Name)
	}
	if len(fields) > 0 {
		t.Errorf("without a flag: %v", fields)
	}
}

// The chart's schema takes exactly the settings there are, but those it gives itself.
func TestSettingsInSchema(t *testing.T) {
	raw, err := os.ReadFile("../../charts/cht-backup/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Config struct {
				AdditionalProperties bool
				Properties           map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	known := schema.Properties.Config.Properties
	if schema.Properties.Config.AdditionalProperties {
		t.Error("config takes any key")
	}
	for _, f := range flagsOf() {
		if _, is := known[f.Name]; is == (byChart[f.Name] != "") {
			t.Errorf("config.%s: taken %v, though it is given by %q", f.Name, is, byChart[f.Name])
		}
		delete(known, f.Name)
	}
	for name := range known {
		t.Errorf("config.%s is no setting", name)
	}
}

// The page lists every setting, as the flags describe them.
func TestSettingsInDocumentation(t *testing.T) {
	page, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), tableBegins)
	_, after, closed := strings.Cut(rest, tableEnds)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", settingsPage)
	}
	want := before + tableBegins + settingsTable() + tableEnds + after
	if *update {
		if err := os.WriteFile(settingsPage, []byte(want), 0o644); err != nil { //nolint:gosec // a page
			t.Fatal(err)
		}
		return
	}
	if want != string(page) {
		t.Errorf("%s is not what the flags say; write it with: go test ./cmd/cht-backup -run TestSettingsInDocumentation -update", settingsPage)
	}
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| key, flag `--…` | environment | default | meaning |\n|---|---|---|---|\n")
	for _, f := range flagsOf() {
		meaning := f.Usage // with its form in backquotes, as here
		if by := byChart[f.Name]; by != "" {
			meaning += ". In the chart: " + by
		}
		value := strings.Trim(f.DefValue, "[]")
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Name, variable(f.Name), value, strings.ReplaceAll(meaning, "|", "\\|"))
	}
	return b.String()
}

func variable(setting string) string {
	return "CHT_BACKUP_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// The environment wins over the file, and a flag over both.
func TestSettingsOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		env, flag string
		want      []string
	}{
		"the file":        {"", "", []string{"from-file"}},
		"the environment": {"one,two", "", []string{"one", "two"}},
		"the flag":        {"one,two", "three", []string{"three"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv(variable("namespaces"), tt.env)
			}
			v, flags := settings(), controllerCommand().Flags()
			if err := v.BindPFlags(flags); err != nil {
				t.Fatal(err)
			}
			v.SetConfigType("yaml")
			if err := v.ReadConfig(strings.NewReader("namespaces: [from-file]\nrbac-scope: Namespaced\n")); err != nil {
				t.Fatal(err)
			}
			if tt.flag != "" {
				if err := flags.Set("namespaces", tt.flag); err != nil {
					t.Fatal(err)
				}
			}
			var c config
			if err := v.Unmarshal(&c); err != nil || !slices.Equal(c.Namespaces, tt.want) || !c.narrow() {
				t.Errorf("%q, %q, %v", c.Namespaces, c.RBACScope, err)
			}
		})
	}
}
