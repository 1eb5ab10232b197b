package harness

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestHelm installs, upgrades, rolls back and uninstalls, and sees that a failure says
// which pod is to blame.
func TestHelm(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 3*time.Minute)
	namespace := c.TempNamespace(t, "helm")
	h := c.Helm(namespace)
	settings := func(value string, annotations map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings", Annotations: annotations}, Data: map[string]string{"text": value}}
	}
	is := func(want string) {
		t.Helper()
		var got corev1.ConfigMap
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(settings("", nil)), &got); err != nil || got.Data["text"] != want {
			t.Errorf("the text is %q, want %q: %v", got.Data["text"], want, err)
		}
	}
	for i, text := range []string{"first {{ .Values.none }}", "second"} {
		ch, err := ChartOf("settings", "0.1.0", settings(text, map[string]string{"helm.sh/resource-policy": "keep"}))
		if err != nil {
			t.Fatal(err)
		}
		do := h.InstallChart
		if i > 0 {
			do = h.UpgradeChart
		}
		if rel, err := do(ctx, "one", ch, nil); err != nil || rel.Version != i+1 {
			t.Fatalf("release %+v: %v", rel, err)
		}
		is(text)
	}
	if err := h.Rollback(ctx, "one", 1); err != nil {
		t.Fatal(err)
	}
	is("first {{ .Values.none }}")
	if manifest, err := h.Manifest(ctx, "one"); err != nil || !strings.Contains(manifest, "settings") {
		t.Errorf("manifest %q: %v", manifest, err)
	}
	if kept, err := h.Uninstall(ctx, "one"); err != nil || !strings.Contains(kept, "settings") {
		t.Errorf("kept %q: %v", kept, err)
	}
	is("first {{ .Values.none }}")
	if _, err := h.Release(ctx, "one"); err == nil {
		t.Error("the release is still there")
	}

	broken := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "broken"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "it", Image: "nowhere.invalid/none:1", ImagePullPolicy: corev1.PullNever}}}}
	ch, err := ChartOf("broken", "0.1.0", broken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.InstallChart(bounded(t, 6*time.Second), "two", ch, nil); err == nil || !strings.Contains(err.Error(), "ErrImageNeverPull") {
		t.Errorf("a pod without an image: %v", err)
	}
}
