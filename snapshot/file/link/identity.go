package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// pin names a certificate by what is in it.
type pin [sha256.Size]byte

func pinOf(certificate []byte) pin { return sha256.Sum256(certificate) }

func (p pin) is(other pin) bool { return subtle.ConstantTimeCompare(p[:], other[:]) == 1 }

// identity is one end's certificate and its key, which never leaves the process.
type identity struct {
	key  *ecdsa.PrivateKey
	cert []byte
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for the connection: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a certificate for the connection: %w", err)
	}
	// Nobody looks at its times: it is known as a whole, and dies with the process.
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "cht-backup"},
		NotBefore: time.Now().AddDate(0, 0, -2), NotAfter: time.Now().AddDate(10, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for the connection: %w", err)
	}
	return &identity{key, cert}, nil
}

// errStranger is the error of a certificate that is not the one that is expected.
var errStranger = errors.New("the other end has another certificate than the one that was admitted")

// config lets nobody speak but the one whose certificate expected accepts. Names, times
// and authorities have no say, so the usual verification is off; in its place the whole
// certificate is compared, at each handshake.
func (i *identity) config(expected func(pin) bool) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{i.cert}, PrivateKey: i.key}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection is stricter
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !expected(pinOf(s.PeerCertificates[0].Raw)) {
				return errStranger
			}
			return nil
		},
	}
}

// statement is what an admission signs: the challenge, and both ends.
func statement(challenge []byte, server, client pin) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte("cht-backup admission 1\n"), challenge, server[:], client[:]} {
		_, _ = h.Write(part)
	}
	return h.Sum(nil)
}

func (i *identity) sign(challenge []byte, server pin) ([]byte, error) {
	return ecdsa.SignASN1(rand.Reader, i.key, statement(challenge, server, pinOf(i.cert)))
}

// signed tells that whoever has the certificate's key answered this challenge of this
// server.
func signed(cert, signature, challenge []byte, server pin) bool {
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		return false
	}
	key, is := parsed.PublicKey.(*ecdsa.PublicKey)
	return is && ecdsa.VerifyASN1(key, statement(challenge, server, pinOf(cert)), signature)
}
