package chart

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/strvals"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

// helmFlags are those that the documentation may use, and whether a value follows.
var helmFlags = map[string]bool{
	"-n": true, "--namespace": true, "-f": true, "--values": true, "--set": true, "--set-string": true, "--set-file": true, "--set-json": true,
	"--version": true, "--timeout": true, "--description": true,
	"--create-namespace": false, "--reuse-values": false, "--reset-then-reuse-values": false, "--install": false, "--wait": false, "--dry-run": false,
	"--atomic": false, "--skip-crds": false, "--take-ownership": false,
}

// TestHelmCommandsInTheDocumentation holds each `helm install`, `upgrade` and `template`
// of our charts to the values that they have.
func TestHelmCommandsInTheDocumentation(t *testing.T) {
	checked := 0
	eachCommand(t, func(page string, line int, words []string) {
		if len(words) < 2 || words[0] != "helm" || !slices.Contains([]string{"install", "upgrade", "template"}, words[1]) {
			return
		}
		checked++
		if err := checkHelm(words[2:]); err != nil {
			t.Errorf("%s:%d: %s: %v", page, line, strings.Join(words, " "), err)
		}
	})
	if checked < 5 {
		t.Errorf("%d commands were found: they are not read any more", checked)
	}
}

func TestHelmCommandsAreCheckedAtAll(t *testing.T) {
	for _, bad := range []string{
		"cht-backup charts/cht-backup --set no.such=1", "cht-backup charts/cht-backup --no-such", "cht-backup", "cht-backup charts/none",
		"cht-backup charts/cht-backup extra", "cht-backup charts/cht-backup --set image=x",
	} {
		if err := checkHelm(strings.Fields(bad)); err == nil {
			t.Errorf("helm install %s was accepted", bad)
		}
	}
}

// theirs are charts of others: only their place is given.
var theirs = []string{"CHART"}

func checkHelm(words []string) error {
	values, withFile := map[string]any{}, false
	var positional []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") {
			positional = append(positional, word)
			continue
		}
		flag, value, joined := strings.Cut(word, "=")
		takes, known := helmFlags[flag]
		if !known {
			return fmt.Errorf("flag %s is not among those that this test knows", flag)
		}
		if takes && !joined {
			if i++; i == len(words) {
				return fmt.Errorf("flag %s has no value", flag)
			}
			value = words[i]
		}
		var err error
		switch flag {
		case "--set":
			err = strvals.ParseInto(value, values)
		case "--set-string":
			err = strvals.ParseIntoString(value, values)
		case "-f", "--values", "--reuse-values":
			withFile = true
		}
		if err != nil {
			return err
		}
	}
	if len(positional) != 2 {
		return fmt.Errorf("%d arguments %q in place of a release and a chart", len(positional), positional)
	}
	if slices.Contains(theirs, positional[1]) {
		return nil
	}
	if withFile {
		return known(positional[1], values) // the rest stands in the file
	}
	return checkValues(positional[1], values)
}

// known tells whether the chart has all the values, as what they are given as. The
// chart's schema may say more; it is asked by rendering.
func known(folder string, values map[string]any) error {
	if _, err := os.Stat(filepath.Join(root, folder, "Chart.yaml")); err != nil {
		return fmt.Errorf("chart %s: %w", folder, err)
	}
	c, err := loader.Load(filepath.Join(root, folder))
	if err != nil {
		return err
	}
	of := func(key string) map[string]any {
		for _, d := range c.Dependencies() {
			if d.Name() == key {
				return d.Values
			}
		}
		return nil
	}
	return within(values, c.Values, of, "")
}

func within(given, defaults map[string]any, dependency func(string) map[string]any, at string) error {
	for key, value := range given {
		here := path.Join(at, key)
		d, there := defaults[key]
		if sub := dependency(key); at == "" && sub != nil {
			merged := map[string]any{"enabled": true, "global": map[string]any{}}
			for k, v := range sub {
				merged[k] = v
			}
			d, there = merged, true
		}
		if !there {
			return fmt.Errorf("there is no value %s", strings.ReplaceAll(here, "/", "."))
		}
		inner, isMap := d.(map[string]any)
		if !isMap || len(inner) == 0 {
			continue
		}
		v, mapGiven := value.(map[string]any)
		if !mapGiven {
			return fmt.Errorf("value %s is a map, not %v", strings.ReplaceAll(here, "/", "."), value)
		}
		if err := within(v, inner, func(string) map[string]any { return nil }, here); err != nil {
			return err
		}
	}
	return nil
}

// A block above which <!-- values of CHART --> stands is a values file.
func valuesOf(b markdown.Block) (folder string, is bool) {
	return strings.CutPrefix(b.Note, "values of ")
}

func checkValues(folder string, values map[string]any) error {
	if err := known(folder, values); err != nil {
		return err
	}
	_, err := Render(filepath.Join(root, folder), values, Release{Name: path.Base(folder), Namespace: "medic"})
	return err
}
