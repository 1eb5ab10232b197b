package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// second is an admin beside the CHT's own.
const second, secondPassword = "second", "of-another-admin"

// TestCredentials gives restored instances new credentials.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			c := suite.Cluster(t)
			ctx := bounded(t, 12*time.Minute)
			o := deployed(ctx, t, c, nodes, func(o *cht.Options) {
				o.Components = cht.Components{HAProxy: true, Healthcheck: true, API: true}
			})
			discardSetAside(t, c, o.Namespace)
			for _, server := range o.Servers() {
				admin := couch.New("http://"+server+":5984", o.User, o.Password, c.Transport())
				if err := admin.Do(ctx, http.MethodPut, "/_node/_local/_config/admins/"+second, secondPassword, nil); err != nil {
					t.Fatal(err)
				}
			}
			was := secretData(ctx, t, c, o.Namespace)
			cookie := session(ctx, t, c, o, o.User, o.Password)
			b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}})
			backedUp := contents(ctx, t, c, o)

			clone := o
			clone.Namespace = c.TempNamespace(t, "rotated")
			pods := watchPods(ctx, t, c, clone.Namespace)
			spec := sourceOf(b)
			spec.GoLive, spec.Credentials = true, api.CredentialsRotate
			r := c.Restore(t, clone.Namespace, "r", spec, restoreWithin)
			saysAll(t, strings.Join(r.Status.Plan.Warnings, "\n"), "has to log in again")
			saysAll(t, strings.Join(r.Status.Notes, "\n"), "other admins keep their passwords: "+second)
			changed(ctx, t, c, clone, o, was, cookie)
			sealed(ctx, t, c, clone, r, pods, was)
			if diff := load.Diff(backedUp, contents(ctx, t, c, clone)); len(diff) > 0 {
				t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
			unchanged(ctx, t, c, o, was, cookie) // the source

			spec = inPlace(b)
			spec.InPlace.SafetyBackup, spec.Credentials = api.SafetyBackupSkip, api.CredentialsRotate
			r = aborted(ctx, t, c, o.Namespace, "aborted", spec, api.PhaseCouchDB, "former volumes again")
			if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
				t.Errorf("the CHT does not work: %v", err)
			}
			unchanged(ctx, t, c, o, was, cookie)
			noneHalf(ctx, t, c, o, r)

			pods = watchPods(ctx, t, c, o.Namespace)
			r = c.Restore(t, o.Namespace, "r", spec, restoreWithin)
			changed(ctx, t, c, o, o, was, cookie)
			sealed(ctx, t, c, o, r, pods, was)
			dropToolbox(ctx, t, c, o.Namespace)
			if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
				t.Errorf("in place: %d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
		})
	}
}

// changed checks that everything takes the new credentials and nothing the old.
func changed(ctx context.Context, t *testing.T, c *harness.Cluster, o, source cht.Options, was map[string]string, cookie string) {
	t.Helper()
	now := secretData(ctx, t, c, o.Namespace)
	for key := range was {
		same := was[key] == now[key]
		if moved := key == "COUCH_URL" || key == "COUCHDB_PASSWORD" || key == "COUCHDB_SECRET"; moved == same {
			t.Errorf("%s of the Secret is the same: %t", key, same) // never its text
		}
	}
	if u, err := url.Parse(now["COUCH_URL"]); err != nil {
		t.Error("COUCH_URL is no URL")
	} else if password, _ := u.User.Password(); password != now["COUCHDB_PASSWORD"] || u.User.Username() != o.User || u.Hostname() != "haproxy."+o.Namespace+".svc.cluster.local" || u.Path != "/medic" {
		t.Errorf("COUCH_URL has another password than COUCHDB_PASSWORD, or is of user %s, host %s, path %s", u.User.Username(), u.Hostname(), u.Path)
	}
	chw, chwPassword := load.User(0)
	for _, at := range append(o.Servers(), "haproxy."+o.Namespace+".svc.cluster.local") {
		logins(ctx, t, c, at, map[[2]string]int{
			{o.User, source.Password}: 401, {o.User, now["COUCHDB_PASSWORD"]}: 200, {second, secondPassword}: 200, {second, "x"}: 401,
			{chw, chwPassword}: 200, {chw, "x"}: 401})
		if status := visit(ctx, t, c, at, cookie); status != 401 {
			t.Errorf("%s answers %d to a cookie of before", at, status)
		}
	}
	// One cookie opens every node: the secret and the salt are the same on all.
	o.Password = now["COUCHDB_PASSWORD"]
	fresh := session(ctx, t, c, o, o.User, o.Password)
	for _, at := range o.Servers() {
		if status := visit(ctx, t, c, at, fresh); status != 200 {
			t.Errorf("%s answers %d to a cookie of %s", at, status, o.Servers()[0])
		}
	}
	configured(ctx, t, c, o, now)
	apiWorks(ctx, t, c, o)
}

// unchanged checks that the credentials are those of before.
func unchanged(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, was map[string]string, cookie string) {
	t.Helper()
	if now := secretData(ctx, t, c, o.Namespace); !maps.Equal(now, was) {
		t.Error("the Secret is not what it was")
	}
	chw, chwPassword := load.User(0)
	for _, at := range append(o.Servers(), "haproxy."+o.Namespace+".svc.cluster.local") {
		logins(ctx, t, c, at, map[[2]string]int{{o.User, o.Password}: 200, {o.User, "x"}: 401, {second, secondPassword}: 200, {chw, chwPassword}: 200})
		if status := visit(ctx, t, c, at, cookie); status != 200 {
			t.Errorf("%s answers %d to a cookie of before", at, status)
		}
	}
	configured(ctx, t, c, o, was)
	apiWorks(ctx, t, c, o)
}

// configured checks the cookie secret and the uuid on every node.
func configured(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, secret map[string]string) {
	t.Helper()
	for _, at := range o.Servers() {
		var uuid, cookie string
		node := couch.New("http://"+at+":5984", o.User, o.Password, c.Transport())
		if err := errors.Join(node.Get(ctx, "/_node/_local/_config/couchdb/uuid", &uuid), node.Get(ctx, "/_node/_local/_config/couch_httpd_auth/secret", &cookie)); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if uuid != secret["COUCHDB_UUID"] || cookie != secret["COUCHDB_SECRET"] {
			t.Errorf("%s has the uuid of the Secret: %t, its cookie secret: %t", at, uuid == secret["COUCHDB_UUID"], cookie == secret["COUCHDB_SECRET"])
		}
	}
}

// apiWorks asks the CHT's API, which asks CouchDB with the credentials of its
// environment.
func apiWorks(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) {
	t.Helper()
	if err := couch.New("http://api."+o.Namespace+".svc.cluster.local:5988", "", "", c.Transport()).Get(ctx, "/", nil); err != nil {
		t.Errorf("the API of %s: %v", o.Namespace, err)
	}
}

// logins tries names and passwords.
func logins(ctx context.Context, t *testing.T, c *harness.Cluster, at string, want map[[2]string]int) {
	t.Helper()
	transport := c.Transport()
	for who, status := range want {
		err := couch.New("http://"+at+":5984", who[0], who[1], transport).Get(ctx, "/_session", nil)
		if got := couch.Status(err); err == nil && status != 200 || err != nil && got != status {
			t.Errorf("%s: user %s: %v, want %d", at, who[0], err, status)
		}
	}
}

// session logs in at the first node and gives its cookie.
func session(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, user, password string) string {
	t.Helper()
	form := url.Values{"name": {user}, "password": {password}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+o.Servers()[0]+":5984/_session", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := c.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for _, one := range answer.Cookies() {
		if one.Name == "AuthSession" && one.Value != "" {
			return one.Value
		}
	}
	t.Fatalf("a login gives no cookie: %s", answer.Status)
	return ""
}

// visit asks with a cookie alone for what admins may see.
func visit(ctx context.Context, t *testing.T, c *harness.Cluster, at, cookie string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+":5984/_all_dbs", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.AddCookie(&http.Cookie{Name: "AuthSession", Value: cookie})
	answer, err := c.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode
}

func secretData(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) map[string]string {
	t.Helper()
	var secret corev1.Secret
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: cht.CredentialsSecret}, &secret); err != nil {
		t.Fatal(err)
	}
	data := map[string]string{}
	for k, v := range secret.Data {
		data[k] = string(v)
	}
	return data
}

// podLog is every state that the pods of a namespace were in.
type podLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen map[string]bool
}

// watchPods looks at the pods of a namespace, of which some are soon gone.
func watchPods(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) *podLog {
	t.Helper()
	events, err := c.Client.Watch(ctx, &corev1.PodList{}, client.InNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	log := &podLog{seen: map[string]bool{}}
	go func() {
		for event := range events.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			text, _ := json.Marshal(pod) // a pod always can be
			log.mu.Lock()
			log.seen[pod.Labels[api.RoleLabel]] = true
			log.text.Write(text)
			log.mu.Unlock()
		}
	}()
	return log
}

// sealed looks for the new credentials, and for the old, wherever they must not be.
func sealed(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, r *api.Restore, pods *podLog, was map[string]string) {
	t.Helper()
	now := secretData(ctx, t, c, o.Namespace)
	var secrets corev1.SecretList
	if err := c.Client.List(ctx, &secrets, client.InNamespace(o.Namespace)); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		if strings.HasPrefix(s.Name, "cht-restore-") && strings.HasSuffix(s.Name, "-credentials") {
			t.Errorf("Secret %s is left", s.Name)
		}
	}
	places := map[string]string{}
	for name, list := range map[string]client.ObjectList{"Restores": &api.RestoreList{}, "Backups": &api.BackupList{}, "events": &eventsv1.EventList{}, "Deployments": &appsv1.DeploymentList{},
		"ConfigMaps": &corev1.ConfigMapList{}, "Pods": &corev1.PodList{}} {
		if err := c.Client.List(ctx, list, client.InNamespace(o.Namespace)); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		places[name] = string(text)
	}
	pods.mu.Lock()
	if !pods.seen["prepare-volume"] {
		t.Error("no prepare-volume pod was seen: nothing was looked into")
	}
	places["the pods that were there"] = pods.text.String()
	pods.mu.Unlock()
	controller, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	places["the controller's log"] = logOf(ctx, t, c, controller, r.CreationTimestamp)
	if !strings.Contains(places["events"], r.Name) {
		t.Error("no event tells of the restore: nothing was looked into")
	}
	for _, data := range []map[string]string{was, now} {
		for _, key := range []string{"COUCHDB_PASSWORD", "COUCHDB_SECRET"} {
			for _, form := range []string{data[key], url.QueryEscape(data[key]), url.PathEscape(data[key]), quoted(data[key])} {
				for _, place := range slices.Sorted(maps.Keys(places)) {
					if strings.Contains(places[place], form) {
						t.Errorf("%s is in %s of %s", key, place, o.Namespace)
					}
				}
			}
		}
	}
}

// quoted is a text as it stands within JSON.
func quoted(s string) string {
	text, _ := json.Marshal(s) // a string always can be
	return strings.Trim(string(text), `"`)
}

func logOf(ctx context.Context, t *testing.T, c *harness.Cluster, pod *corev1.Pod, since metav1.Time) string {
	t.Helper()
	stream, err := c.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{SinceTime: &since}).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dropToolbox removes the pod that the tests exec in, whose environment holds the
// credentials of when it was made.
func dropToolbox(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "toolbox"}}); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err := await.List(ctx, c.Client, &pods, func() (string, error) {
		if len(pods.Items) > 0 {
			return "the end of the toolbox", nil
		}
		return "", nil
	}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": "toolbox"}); err != nil {
		t.Fatal(err)
	}
}
