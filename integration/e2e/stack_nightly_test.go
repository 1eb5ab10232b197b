package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/schedule"
)

// TestStack installs a clustered CHT with nginx before it, backs it up by its nightly
// schedule, uninstalls it and installs it again: nothing that its users entered is lost,
// and no password has to be remembered.
func TestStack(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	s := newStack(t, c, 3)
	values := s.values(map[string]any{"ingress": map[string]any{"type": "nginx", "host": s.Namespace + ".example.org"}})
	s.install(ctx, t, c.ChartFolder("cht"), values)
	s.ready(ctx, t)
	seeded(ctx, t, c, s.Options)
	throughNginx(ctx, t, s, s.Namespace+".example.org")
	before, secret, was := s.identities(ctx, t), s.secret(ctx, t), contents(ctx, t, c, s.Options)

	cron, due := nextMinute()
	nightly := s.values(values, map[string]any{"backup": map[string]any{"schedule": cron, "timeZone": "Etc/UTC", "jitter": "0s"}})
	thaw(t, c)
	s.upgrade(ctx, t, nightly)
	if now := s.identities(ctx, t); !maps.Equal(now.pods, before.pods) {
		t.Errorf("CouchDB was started again for a schedule: pods %v, were %v", now.pods, before.pods)
	}
	b, err := c.WaitBackup(ctx, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: nightlyName(ctx, t, s, due)}}, backupWithin, nil)
	if err != nil || b.Status.Phase != api.PhaseCompleted || b.Status.Consistency != api.Consistent {
		t.Fatalf("the nightly backup: %+v, %v", b, err)
	}
	s.ready(ctx, t)

	if _, err := c.Helm(s.Namespace).Uninstall(ctx, s.release); err != nil {
		t.Fatal(err)
	}
	s.gone(ctx, t)
	kept(ctx, t, s, b, before)

	s.install(ctx, t, c.ChartFolder("cht"), nightly)
	if now := s.identities(ctx, t); !maps.Equal(now.claims, before.claims) {
		t.Errorf("claims %v, were %v", now.claims, before.claims)
	}
	if now := s.secret(ctx, t); now.UID != secret.UID || !maps.EqualFunc(now.Data, secret.Data, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("the Secret is another one after uninstalling and installing again")
	}
	if diff := load.Diff(was, contents(ctx, t, c, s.Options)); len(diff) > 0 {
		t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
	throughNginx(ctx, t, s, s.Namespace+".example.org")
	// The backup is one of the new installation's too.
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil || b.Status.Phase != api.PhaseCompleted {
		t.Errorf("the backup from before: %s, %v", b.Status.Phase, err)
	}
}

// nightlyName is what the one schedule of the release calls its backup that is due then.
func nightlyName(ctx context.Context, t *testing.T, s *stack, due time.Time) string {
	t.Helper()
	var list api.BackupScheduleList
	if err := s.c.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d schedules: %v", len(list.Items), err)
	}
	return schedule.BackupName(list.Items[0].Name, due)
}

// throughNginx writes and reads a document from outside, by TLS, as a phone would.
func throughNginx(ctx context.Context, t *testing.T, s *stack, host string) {
	t.Helper()
	var secret corev1.Secret
	if err := s.c.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "cht-nginx-tls"}, &secret); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey]) {
		t.Fatal("the certificate of nginx cannot be read")
	}
	nginx := "nginx." + s.Namespace + ".svc.cluster.local"
	transport := s.c.TLSTransport(&tls.Config{RootCAs: roots, ServerName: host})
	type doc struct {
		Rev  string `json:"_rev,omitempty"`
		Text string `json:"text"`
	}
	admin := couch.New("https://"+nginx, s.User, s.Password, transport).Patient(30 * time.Second)
	var got doc
	if err := admin.Get(ctx, "/medic/through-nginx", &got); couch.Status(err) == http.StatusNotFound {
		err = admin.Do(ctx, http.MethodPut, "/medic/through-nginx", doc{Text: "hello"}, nil)
		if err == nil {
			err = admin.Get(ctx, "/medic/through-nginx", &got)
		}
		if err != nil {
			t.Fatalf("through nginx: %v", err)
		}
	} else if err != nil {
		t.Fatalf("through nginx: %v", err)
	}
	if got.Text != "hello" {
		t.Errorf("through nginx came %+v", got)
	}
	for user, password := range map[string]string{"": "", s.User: "wrong"} {
		if err := couch.New("https://"+nginx, user, password, transport).Get(ctx, "/medic/through-nginx", nil); couch.Status(err) != http.StatusUnauthorized {
			t.Errorf("as %q with a wrong password: %v", user, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+nginx+":80/medic", nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.c.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = plain.Body.Close()
	if to := plain.Header.Get("Location"); plain.StatusCode/100 != 3 || to != "https://"+nginx+"/medic" {
		t.Errorf("without TLS: %s to %q", plain.Status, to)
	}
}

// kept fails unless what the documentation promises is there after uninstalling: claims
// and volumes, the Secret that opens them, the backup, its snapshots and its record.
func kept(ctx context.Context, t *testing.T, s *stack, b *api.Backup, before identities) {
	t.Helper()
	now := s.identities(ctx, t)
	if !maps.Equal(now.claims, before.claims) || len(now.pods) > 0 {
		t.Errorf("claims %v, were %v; pods %v", now.claims, before.claims, now.pods)
	}
	s.secret(ctx, t)
	var left api.Backup
	if err := s.c.Client.Get(ctx, client.ObjectKeyFromObject(b), &left); err != nil || left.UID != b.UID || left.DeletionTimestamp != nil {
		t.Errorf("the backup: %+v, %v", left.ObjectMeta, err)
	}
	for _, v := range b.Status.Volumes {
		if s.c.Local && !s.c.StorageHas(t, v.Driver, v.Handle) {
			t.Errorf("the storage has no snapshot %s of %s any more", v.Handle, v.Node)
		}
	}
	var records corev1.SecretList
	if err := s.c.Client.List(ctx, &records, client.InNamespace(controllerOf(s.Namespace))); err != nil || len(records.Items) == 0 {
		t.Errorf("%d Secrets in %s: %v", len(records.Items), controllerOf(s.Namespace), err)
	}
}
