package restore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot/cht"
)

func couchPod(namespace, ip string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "couch-" + ip, Labels: map[string]string{cht.ServiceLabel: "couchdb-1"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

func serviceOf(namespace, name, selects, ip string, port int32) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{{Port: port}}}}
	if selects != "" {
		s.Spec.Selector = map[string]string{cht.ServiceLabel: selects}
	}
	return s
}

// around is the cluster that a clone is in: a source with a node, its Services, and
// an API server on another node.
func around() []client.Object {
	port := int32(6443)
	return []client.Object{
		couchPod(target, "10.1.0.1"), couchPod(source, "10.2.0.1"),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "api", Labels: map[string]string{cht.ServiceLabel: "api"}}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.2.0.9"}},
		serviceOf(source, "couchdb-1", "couchdb-1", "10.96.2.1", 5984), serviceOf(source, "haproxy", "haproxy", "10.96.2.2", 5984),
		serviceOf(source, "api", "api", "10.96.2.3", 5988), serviceOf(source, "headless", "couchdb-1", "None", 5984),
		serviceOf(metav1.NamespaceDefault, "kubernetes", "", "10.96.0.1", 443),
		&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.168.0.1"}}}, Ports: []discoveryv1.EndpointPort{{Port: &port}}},
	}
}

func TestIsolationTargets(t *testing.T) {
	const others = " APIServer=10.96.0.1:443 APIServer=192.168.0.1:6443 Outside=192.0.2.1:443"
	for name, tt := range map[string]struct {
		change func(w *work)
		want   string
	}{
		"a source beside it": {func(*work) {}, "Own=10.1.0.1:5984 Source=10.2.0.1:5984 Source=10.96.2.1:5984 Source=10.96.2.2:5984 Source=10.2.0.1:4369" + others},
		"a source elsewhere": {func(w *work) { w.record.Namespace = "nowhere" }, "Own=10.1.0.1:5984" + others},
		// What is in the namespace of the source is the clone then, which it may reach.
		"in the source's own namespace": {func(w *work) { w.record.Namespace = target }, "Own=10.1.0.1:5984" + others},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, around()...)
			b.Outside = []string{"192.0.2.1:443"}
			w := workOf(t, restoreOf())
			tt.change(w)
			got, err := b.isolationTargets(t.Context(), w)
			var texts []string
			for _, one := range got.all {
				texts = append(texts, one.String())
			}
			if s := strings.Join(texts, " "); err != nil || s != tt.want || !slices.Equal(got.apiServers, []string{"192.168.0.1"}) {
				t.Errorf("got  %s\nwant %s; servers %v, %v", s, tt.want, got.apiServers, err)
			}
		})
	}
	t.Run("no CouchDB yet", func(t *testing.T) {
		var wait notYet
		if _, err := newBench(t).isolationTargets(t.Context(), workOf(t, restoreOf())); !errors.As(err, &wait) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("many sources", func(t *testing.T) {
		objects := around()
		for i := range 20 {
			objects = append(objects, couchPod(source, "10.3.0."+string(rune('a'+i))))
		}
		got, err := newBench(t, objects...).isolationTargets(t.Context(), workOf(t, restoreOf()))
		if err != nil || len(got.all) != 1+mostSources+2 {
			t.Errorf("%d targets, %v", len(got.all), err)
		}
	})
}

// cluster stands for the kubelet and the network plugin: it lets each probe end
// with what its labels let it reach. A nil reaches lets none end.
type cluster struct {
	t       *testing.T
	reaches func(component, address string) bool
	probed  []string
}

func (c *cluster) create(ctx context.Context, inner client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if err := inner.Create(ctx, o, opts...); err != nil {
		return err
	}
	if pod, is := o.(*corev1.Pod); is && pod.Labels[api.RoleLabel] == roleProbe && c.reaches != nil {
		c.end(ctx, inner, pod.DeepCopy())
	}
	return nil
}

func (c *cluster) end(ctx context.Context, inner client.Client, pod *corev1.Pod) {
	c.probed = append(c.probed, pod.Annotations[standsForAnnotation])
	var report probe.Report
	args := pod.Spec.Containers[0].Command
	for i, a := range args {
		if a != "--target" {
			continue
		}
		one, err := probe.ParseTarget(args[i+1])
		if err != nil {
			c.t.Error(err)
		}
		if one.Outcome = api.OutcomeTimeout; one.Kind == api.TargetOwn || c.reaches(pod.Labels[cht.ServiceLabel], one.Address) {
			one.Outcome = api.OutcomeConnected
		}
		report.Rounds, report.Targets = 3, append(report.Targets, one)
	}
	text, err := json.Marshal(report)
	if err != nil {
		c.t.Error(err)
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodSucceeded, HostIP: "192.168.0.7", ContainerStatuses: []corev1.ContainerStatus{{Name: roleProbe,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: string(text)}}}}}
	if err := inner.Status().Update(ctx, pod); err != nil {
		c.t.Error(err)
	}
}

// started runs a clone's start step on a CHT that it may start.
func started(t *testing.T, w *work, reaches func(component, address string) bool, change func(*bench)) (*bench, *cluster) {
	t.Helper()
	objects := append(around(), w.restore)
	for _, o := range w.target {
		if !isWorkload(o) {
			continue
		}
		none := int32(0)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: o.GetName()}, Spec: appsv1.DeploymentSpec{Replicas: &none}, Status: appsv1.DeploymentStatus{ReadyReplicas: 9}}
		objects = append(objects, d)
	}
	b := newBench(t, objects...)
	b.Dial = func(context.Context, string) error { return nil }
	if change != nil {
		change(b)
	}
	c := &cluster{t: t, reaches: reaches}
	b.Client = interceptor.NewClient(b.Client, interceptor.Funcs{Create: c.create})
	if err := b.start(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return b, c
}

func nothing(string, string) bool { return false }

func TestStartOfAClone(t *testing.T) {
	source := "10.2.0.1:5984"
	for name, tt := range map[string]struct {
		reaches func(component, address string) bool
		change  func(*bench)
		want    api.IsolationResult
		starts  string
		says    string
	}{
		"enforced":             {nothing, nil, api.IsolationEnforced, "cht-api cht-haproxy upgrade-service", ""},
		"not enforced":         {func(string, string) bool { return true }, nil, api.IsolationNotEnforced, "cht-haproxy", "stays at 0: cht-api, upgrade-service"},
		"the source is open":   {func(_, a string) bool { return a == source }, nil, api.IsolationNotEnforced, "cht-haproxy", source},
		"a policy for the API": {func(c, a string) bool { return c == "api" }, nil, api.IsolationNotEnforced, "cht-haproxy", "cht-api reached"},
		"nobody is there to be reached": {nothing, func(b *bench) {
			b.Dial = func(context.Context, string) error { return errors.New("no route") }
		}, api.IsolationNotProved, "cht-haproxy", "not known to be closed in"},
	} {
		t.Run(name, func(t *testing.T) {
			w := cloneOf(t, workload("Deployment", "cht-api", theAPI, ""), workload("Deployment", "cht-sentinel", "cht.service: sentinel", ""),
				workload("Deployment", "cht-haproxy", "cht.service: haproxy", ""), workload("Deployment", "upgrade-service", "cht.service: upgrade-service", ""))
			phase(api.PhaseStarting)(w.restore)
			b, c := started(t, w, tt.reaches, tt.change)
			var up []string
			for _, d := range []string{"cht-api", "cht-couchdb-1", "cht-haproxy", "cht-sentinel", "upgrade-service"} {
				if b.replicas(d) > 0 {
					up = append(up, d)
				}
			}
			if got := strings.Join(up, " "); got != tt.starts {
				t.Errorf("started %s, want %s", got, tt.starts)
			}
			slices.Sort(c.probed)
			if got := strings.Join(c.probed, " "); got != "cht-api cht-haproxy upgrade-service" {
				t.Errorf("probed %s", got)
			}
			found := w.restore.Status.Isolation
			if found == nil || found.Result != tt.want || len(found.Targets) != 3*7 {
				t.Fatalf("found %+v", found)
			}
			condition := meta.FindStatusCondition(w.restore.Status.Conditions, api.ConditionIsolated)
			if condition == nil || condition.Reason != string(tt.want) || (condition.Status == metav1.ConditionTrue) != (tt.want == api.IsolationEnforced) {
				t.Errorf("condition %+v", condition)
			}
			notes := strings.Join(w.restore.Status.Notes, "\n")
			if !strings.Contains(notes, "Sentinel stays at 0") || !strings.Contains(notes, tt.says) || (len(w.restore.Status.Notes) == 1) != (tt.want == api.IsolationEnforced) {
				t.Errorf("notes %q", notes)
			}
			var stored api.Restore
			if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(w.restore), &stored); err != nil || stored.Status.Isolation == nil {
				t.Errorf("what was found was not written before anything started: %v", err)
			}
			var pods corev1.PodList
			if err := b.Client.List(t.Context(), &pods, client.MatchingLabels{api.RoleLabel: roleProbe}); err != nil || len(pods.Items) != 0 {
				t.Errorf("%d probes are left, %v", len(pods.Items), err)
			}

			// The step goes on for as long as the components take; it is judged once.
			before := *found
			if err := b.start(t.Context(), w); err != nil || w.restore.Status.Isolation.Time != before.Time || len(c.probed) != 3 {
				t.Errorf("probed again: %v, %v", c.probed, err)
			}
			if got := strings.Join(w.restore.Status.Notes, "\n"); got != notes {
				t.Errorf("said again: %q", got)
			}
		})
	}
}

// A probe that does not end keeps nobody waiting for ever, and proves nothing.
func TestProbeThatDoesNotEnd(t *testing.T) {
	w := cloneOf(t, workload("Deployment", "cht-api", theAPI, ""), workload("Deployment", "cht-haproxy", "cht.service: haproxy", ""))
	phase(api.PhaseStarting)(w.restore)
	b, _ := started(t, w, nil, func(b *bench) {
		b.now = epoch.Add(31 * time.Second) // of the step's minute
	})
	if found := w.restore.Status.Isolation; found.Result != api.IsolationNotProved || !strings.Contains(found.Message, "did not end in time") {
		t.Errorf("found %+v", found)
	}
	if b.replicas("cht-api") != 0 || b.replicas("cht-haproxy") != 1 {
		t.Errorf("API %d, HAProxy %d", b.replicas("cht-api"), b.replicas("cht-haproxy"))
	}
}

// What fails later leaves no probe behind.
func TestFailureDropsProbes(t *testing.T) {
	w := cloneOf(t, workload("Deployment", "cht-api", theAPI, ""))
	phase(api.PhaseStarting)(w.restore)
	probes := w.probes("i", nil)
	b := newBench(t, w.restore, probes[0])
	if err := b.stop(t.Context(), w.restore, false); err != nil {
		t.Fatal(err)
	}
	if left := b.there([]client.Object{probes[0]}); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}
