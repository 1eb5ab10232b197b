package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// Authority signs the certificates of one cluster.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New makes an authority with ca.crt and ca.key in dir.
func New(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := base("testbed-ca")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, cert: cert, key: key, pem: encode("CERTIFICATE", der)}
	return a, a.write("ca", der, key)
}

func base(name string, groups ...string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (a *Authority) write(file string, cert []byte, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.dir, file+".key"), encode("EC PRIVATE KEY", der), 0o600); err != nil {
		return err
	}
	if cert == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(a.dir, file+".crt"), encode("CERTIFICATE", cert), 0o644)
}

func (a *Authority) issue(file string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("issue %s: %w", file, err)
	}
	return a.write(file, der, key)
}

// Server issues FILE.crt and FILE.key for a server under these addresses and names.
func (a *Authority) Server(file string, ips []net.IP, names []string) error {
	t := base(file)
	t.IPAddresses, t.DNSNames = ips, names
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return a.issue(file, t)
}

// Client issues FILE.crt and FILE.key for a user in groups.
func (a *Authority) Client(file, user string, groups ...string) error {
	t := base(user, groups...)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(file, t)
}

// SigningKey makes a bare FILE.key, as for service account tokens.
func (a *Authority) SigningKey(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return a.write(file, nil, key)
}

// Kubeconfig writes a kubeconfig at path, with all it needs in it, for the client
// certificate FILE.
func (a *Authority) Kubeconfig(path, server, file string) error {
	cert, err := os.ReadFile(filepath.Join(a.dir, file+".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(a.dir, file+".key"))
	if err != nil {
		return err
	}
	config, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "testbed",
		"clusters": []any{map[string]any{"name": "testbed", "cluster": map[string]any{
			"server": server, "certificate-authority-data": a.pem}}},
		"users": []any{map[string]any{"name": file, "user": map[string]any{
			"client-certificate-data": cert, "client-key-data": key}}},
		"contexts": []any{map[string]any{"name": "testbed", "context": map[string]any{
			"cluster": "testbed", "user": file}}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, config, 0o600)
}
