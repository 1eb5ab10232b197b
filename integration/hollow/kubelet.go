package hollow

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// execProtocol is the one in which exit codes are told as JSON.
const execProtocol = "v4.channel.k8s.io"

// kubelet is the endpoint that the API server calls for exec.
type kubelet struct {
	holds  *Holds
	server *http.Server
	host   string
	port   int32
}

// listen serves on the address of this machine that faces the API server, and only
// for those whom the cluster's CA knows: the API server.
func (k *kubelet) listen(ctx context.Context, config *rest.Config) error {
	api, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	probe, err := (&net.Dialer{}).DialContext(ctx, "tcp", api.Host)
	if err != nil {
		return fmt.Errorf("find the address that faces the API server: %w", err)
	}
	k.host, _, err = net.SplitHostPort(probe.LocalAddr().String())
	_ = probe.Close()
	if err != nil {
		return err
	}
	certificate, err := selfSigned(k.host)
	if err != nil {
		return err
	}
	callers := x509.NewCertPool()
	if !callers.AppendCertsFromPEM(config.CAData) {
		return fmt.Errorf("the kubeconfig holds no CA of the cluster, by whose certificates the API server is known")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(k.host, "0"))
	if err != nil {
		return err
	}
	k.port = int32(l.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	k.server = &http.Server{Handler: k, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: callers, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}}
	go func() { _ = k.server.ServeTLS(l, "", "") }()
	return nil
}

func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hollow"}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// ServeHTTP answers /exec/NAMESPACE/POD/CONTAINER.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 4 || parts[0] != "exec" {
		http.Error(w, "only exec is answered here", http.StatusNotFound)
		return
	}
	bound, err := pauseBound(r.URL.Query()["command"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{execProtocol}); err != nil {
		return // it has answered
	}
	type opened struct {
		httpstream.Stream
		replied <-chan struct{}
	}
	streams := make(chan opened, 4)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, replied <-chan struct{}) error {
		streams <- opened{s, replied}
		return nil
	})
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	of := map[string]httpstream.Stream{}
	for patience := time.After(30 * time.Second); len(of) < 4; { // error, stdin, stdout, stderr
		select {
		case s := <-streams:
			<-s.replied
			of[s.Headers().Get("streamType")] = s
		case <-conn.CloseChan():
			return
		case <-patience:
			return
		}
	}
	status := metav1.Status{Status: metav1.StatusSuccess}
	if err := k.holds.serve(parts[1], bound, of["stdin"], of["stdout"]); err != nil {
		status = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
	}
	_ = of["stdout"].Close()
	_ = of["stderr"].Close()
	_ = json.NewEncoder(of["error"]).Encode(status) // the caller has gone, or reads it
	_ = of["error"].Close()
	select { // the caller closes, once it has read all
	case <-conn.CloseChan():
	case <-time.After(10 * time.Second):
	}
}

// pauseBound is the bound of a pause that the product asks for; it asks for nothing
// else here.
func pauseBound(command []string) (time.Duration, error) {
	if len(command) != 5 || command[0] != "sh" || command[3] != "cht-pause" {
		return 0, fmt.Errorf("exec of %.40q: only the pause script is known here", command)
	}
	return time.ParseDuration(command[4] + "s")
}
