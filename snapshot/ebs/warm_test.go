package ebs

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/account"
)

// Under the freeze no connection is opened: on a real endpoint each costs a TLS
// handshake.
func TestTheCutFindsItsConnectionsOpen(t *testing.T) {
	w := newWorld(t, 3)
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(w.Cloud)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	w.account(func(s *account.Settings) {
		s.Load = append(s.Load, config.WithBaseEndpoint(server.URL), config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(account.Keep)))
	})
	// As far away as EC2 is, or one connection would do for all.
	w.AddFault(fake.Fault{Delay: fake.Exactly(50 * time.Millisecond)})
	p := w.ready(backup(1))
	before := opened.Load()
	if _, err := p.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := opened.Load() - before; n != 0 || before < 3 {
		t.Errorf("%d connections before the cut, %d more in it", before, n)
	}
}
