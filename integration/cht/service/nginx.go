package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// NginxFiles are what the CHT's nginx image has, but for its pages of errors, by path.
// It is made for Compose: the template's resolver is Docker's, which no pod reaches.
func NginxFiles() map[string]string {
	lines := func(all ...string) string { return strings.Join(all, "\n") + "\n" }
	return map[string]string{
		"/etc/nginx/nginx.conf": lines("user nginx;", "worker_processes 1;", "pid /run/nginx.pid;", "error_log stderr;", "events { worker_connections 1024; }",
			"http {", "  default_type application/octet-stream;", "  access_log off;", "  server_tokens off;", "  keepalive_timeout 3600;",
			"  proxy_read_timeout 3600;", "  client_max_body_size 32M;",
			// The image of nginx itself keeps these in one folder, Debian's elsewhere.
			"  client_body_temp_path /var/cache/nginx/client_temp;", "  proxy_temp_path /var/cache/nginx/proxy_temp;", "  fastcgi_temp_path /var/cache/nginx/fastcgi_temp;",
			"  uwsgi_temp_path /var/cache/nginx/uwsgi_temp;", "  scgi_temp_path /var/cache/nginx/scgi_temp;",
			"  server {", "    listen 80;", "    location / { return 301 https://$host$request_uri; }", "  }",
			"  server {", "    listen 443 ssl http2;", "    ssl_certificate /etc/nginx/private/cert.pem;", "    ssl_certificate_key /etc/nginx/private/key.pem;",
			"    ssl_protocols TLSv1.2 TLSv1.3;", "    include /etc/nginx/conf.d/server.conf;", "  }", "}"),
		"/etc/nginx/templates/server.conf.template": lines("resolver 127.0.0.11 valid=10s;", "set $upstream_endpoint http://${API_HOST}:${API_PORT};",
			"location / {", "  proxy_pass $upstream_endpoint;", "  proxy_set_header Host $host;", "  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
			"  proxy_set_header X-Forwarded-Proto https;", "}"),
		"/etc/passwd": lines("root:x:0:0:root:/:/bin/sh", "nginx:x:101:101:nginx:/nonexistent:/bin/false"),
		"/etc/group":  lines("root:x:0:", "nginx:x:101:"),
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)\}|\$(\w+)`)

// NginxTemplates writes conf.d/NAME from each templates/NAME.template, as nginx's image
// does at its start: only variables of the environment are filled in, and a folder that
// cannot be written is left as it is, with a word in the log.
func NginxTemplates(templates, to string, lookup func(string) (string, bool)) error {
	files, err := filepath.Glob(filepath.Join(templates, "*.template"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		filled := variable.ReplaceAllStringFunc(string(text), func(found string) string {
			if value, ok := lookup(strings.Trim(found, "${}")); ok {
				return value
			}
			return found
		})
		out := filepath.Join(to, strings.TrimSuffix(filepath.Base(file), ".template"))
		if err := os.WriteFile(out, []byte(filled), 0o644); err != nil {
			log.Printf("%s stays as it is: %v", to, err)
			return nil
		}
	}
	return nil
}

// NginxCertificate sees that there is a certificate, by the modes of the CHT's image. A
// certificate authority that is on the internet is not asked: AUTO_GENERATE begins, as
// there, with one that is signed by itself.
func NginxCertificate(mode, name, certFile, keyFile string) error {
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	err := errors.Join(certErr, keyErr)
	switch {
	case mode != "OWN_CERT" && mode != "SELF_SIGNED" && mode != "AUTO_GENERATE":
		return fmt.Errorf("CERTIFICATE_MODE is %q: set OWN_CERT, SELF_SIGNED or AUTO_GENERATE", mode)
	case err == nil:
		return nil
	case mode == "OWN_CERT" || !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("mount a certificate: %w", err)
	}
	if name == "" {
		name = "localhost"
	}
	return selfSigned(name, certFile, keyFile)
}

func selfSigned(name, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	cert := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
