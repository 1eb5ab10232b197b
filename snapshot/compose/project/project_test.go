package project

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseEnv(t *testing.T) {
	got, err := ParseEnv([]byte("# comment\n\nA=1\nexport B = two words # note\nC='a # b $X'\nD=\"x\\n\\\"y\\\"\"\r\nE=\nF=p#ss;w$rd\nBARE\nA=last\n"))
	want := map[string]string{"A": "last", "B": "two words", "C": "a # b $X", "D": "x\n\"y\"", "E": "", "F": "p#ss;w$rd"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q %v", got, err)
	}
	if _, err := ParseEnv([]byte("A=1\nthe secret word=x\n")); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func TestFill(t *testing.T) {
	env := map[string]string{"A": "a", "EMPTY": "", "P": "p;w$d"}
	for in, want := range map[string]string{
		"plain": "plain", "$A/${A}": "a/a", "${B:-x}": "x", "${EMPTY:-x}": "x", "${EMPTY-x}": "", "${B-x}": "x", "${A:?must}": "a", "${B:?must}": "",
		"${A:+y}": "y", "${B:+y}": "", "$$A": "$A", "${B:-${A}/z}": "a/z", "${P}": "p;w$d", "100$": "100$", "$1": "$1", "${open": "${open",
	} {
		if got := Fill(in, env); got != want {
			t.Errorf("%s: %q, not %q", in, got, want)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const cluster = `
services:
  couchdb-1.local:
    image: registry.example.org/cht-couchdb:5.1.0
    volumes:
      - ${DB1_DATA:-./srv1}:/opt/couchdb/data
      - cht-credentials:/opt/couchdb/etc/local.d/
    environment:
      - "COUCHDB_USER=${COUCHDB_USER:-admin}"
      - "COUCHDB_PASSWORD=${COUCHDB_PASSWORD:?COUCHDB_PASSWORD must be set}"
      - "SVC_NAME=${SVC1_NAME:-couchdb-1.local}"
  couchdb-2.local:
    volumes: [{type: bind, source: "${DB2_DATA:-./srv2}", target: /opt/couchdb/data}]
    environment: {COUCHDB_USER: , NODE_COUNT: 3}
  couchdb-3.local:
    volumes: ["./srv3:/opt/couchdb/data:rw"]
  nouveau: {image: n}
volumes:
  cht-credentials:
  cht-ssl: {name: cht-ssl}
`

// As the CHT's upgrade service lays it out, among files of others.
func TestLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My CHT")
	write(t, dir, map[string]string{
		"compose/couchdb.yml": cluster, "compose/core.yml": "services: {cht-api: {image: 'registry.example.org/cht-api:5.1.0'}}",
		"upgrade-service/.env": "COUCHDB_USER=medic\nCOUCHDB_PASSWORD=p;w\nDB1_DATA=/srv/one\n", "values.yaml": "a: b", "broken.yml": "\tno", "couchdb/x.txt": "",
	})
	p, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "mycht" || len(p.Files) != 3 || len(p.Services) != 5 {
		t.Errorf("project %q, %d files, %d services", p.Name, len(p.Files), len(p.Services))
	}
	one, two := p.Services["couchdb-1.local"], p.Services["couchdb-2.local"]
	if data, ok := one.At("/opt/couchdb/data"); !ok || data != (Mount{Source: "/srv/one", Target: "/opt/couchdb/data"}) {
		t.Errorf("data of 1: %+v", data)
	}
	if config, ok := one.At("/opt/couchdb/etc/local.d"); !ok || config != (Mount{Source: "mycht_cht-credentials", Target: "/opt/couchdb/etc/local.d", Named: true}) {
		t.Errorf("configuration of 1: %+v", config)
	}
	if data, _ := two.At("/opt/couchdb/data"); data.Source != filepath.Join(dir, "compose", "srv2") {
		t.Errorf("data of 2: %+v", data)
	}
	if one.Environment["COUCHDB_PASSWORD"] != "p;w" || one.Environment["SVC_NAME"] != "couchdb-1.local" || two.Environment["COUCHDB_USER"] != "medic" || two.Environment["NODE_COUNT"] != "3" {
		t.Errorf("environment %v, %v", one.Environment, two.Environment)
	}
	if p.Volumes["cht-ssl"] != "cht-ssl" {
		t.Errorf("volumes %v", p.Volumes)
	}
	again, err := Of(dir, p.Files, Options{})
	if err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("from its files: %+v %v", again, err)
	}
	if named, err := Load(dir, Options{Name: "cht"}); err != nil || named.Name != "cht" || named.Volumes["cht-credentials"] != "cht_cht-credentials" {
		t.Errorf("named: %q %v %v", named.Name, named.Volumes, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "--project") {
		t.Errorf("an empty directory: %v", err)
	}
	write(t, dir, map[string]string{"c.yml": "services: {couchdb: {image: x}}", "a/.env": "COUCHDB_PASSWORD=one", "b/.env": "COUCHDB_PASSWORD=two"})
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "--env-file") || strings.Contains(err.Error(), "two") {
		t.Errorf("two environments: %v", err)
	}
	if p, err := Load(dir, Options{EnvFile: filepath.Join(dir, "b", ".env")}); err != nil || p.Env["COUCHDB_PASSWORD"] != "two" {
		t.Errorf("the second: %v %v", p.Env, err)
	}
}

func TestNodes(t *testing.T) {
	for _, c := range []struct {
		services, want string
		refused        bool
	}{
		{"couchdb cht-api", "couchdb=couchdb", false},
		{"couchdb-1.local", "couchdb=couchdb-1.local", false},
		{"couchdb-3.local couchdb-1.local couchdb-2.local", "couchdb-1=couchdb-1.local couchdb-2=couchdb-2.local couchdb-3=couchdb-3.local", false},
		{"couchdb.1 couchdb.2", "couchdb-1=couchdb.1 couchdb-2=couchdb.2", false},
		{"couchdb-1.local couchdb-3.local", "", true},
		{"couchdb couchdb-2", "", true},
		{"couchdb-1 couchdb-1.local", "", true},
		{"cht-api couchdb-backup", "", true},
	} {
		nodes, err := Nodes(strings.Fields(c.services))
		var got []string
		for _, n := range nodes {
			got = append(got, n.Service+"="+n.Compose)
		}
		if strings.Join(got, " ") != c.want || (err != nil) != c.refused {
			t.Errorf("%s: %v %v", c.services, got, err)
		}
	}
}
