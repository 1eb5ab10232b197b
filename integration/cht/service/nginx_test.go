package service

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNginxTemplates(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "server.conf.template"), []byte("to ${API_HOST}:$API_PORT for $host"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"API_HOST": "api", "API_PORT": "5988"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if err := NginxTemplates(dir, dir, lookup); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "server.conf")); string(got) != "to api:5988 for $host" {
		t.Errorf("%q, %v", got, err)
	}
	if err := NginxTemplates(dir, filepath.Join(dir, "none"), lookup); err != nil {
		t.Errorf("a folder that cannot be written ends nginx: %v", err)
	}
}

func TestNginxCertificate(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for mode, want := range map[string]string{"": "CERTIFICATE_MODE", "OWN_CERT": "mount a certificate"} {
		if err := NginxCertificate(mode, "cht.example", cert, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
	if err := NginxCertificate("SELF_SIGNED", "cht.example", cert, key); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil || pair.Leaf.VerifyHostname("cht.example") != nil {
		t.Errorf("certificate: %v", err)
	}
	before, _ := os.ReadFile(cert)
	for _, mode := range []string{"OWN_CERT", "SELF_SIGNED", "AUTO_GENERATE"} {
		if err := NginxCertificate(mode, "other.example", cert, key); err != nil {
			t.Errorf("mode %s with a certificate: %v", mode, err)
		}
	}
	if after, _ := os.ReadFile(cert); string(after) != string(before) {
		t.Error("a certificate that was there was replaced")
	}
}
