package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// completed gives the words that __complete offers, and its directive.
func (w *world) completed(t *testing.T, args ...string) (all []string, directive string) {
	t.Helper()
	w.mustRun(t, exit.Good, nil, append([]string{"__complete"}, args...)...)
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	for _, l := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(l, "\t")
		all = append(all, word)
	}
	return all, lines[len(lines)-1]
}

func TestComplete(t *testing.T) {
	good := backupIn(api.PhaseCompleted, "u-1")
	cut := metav1.NewMicroTime(noon)
	good.Status.CutTime, good.Status.Conditions = &cut, condition(metav1.ConditionTrue, api.ReasonCompleted, "done")
	bad := backupIn(api.PhaseFailed, "u-2")
	bad.Name = "naught"
	ended := restoreIn("medic", "ended")
	ended.Status.Phase = api.PhaseCompleted
	w := newWorld(t, interceptor.Funcs{}, good, bad, recordOf(t, "medic", "older", "u-0", noon), restoreIn("medic", "running"), ended, scheduleIn("medic", "every-night"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kisumu"}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "d"})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"describe", "n"}, "naught nightly"},
		{[]string{"describe", ""}, "backup drill ended every-night naught nightly older restore running schedule"},
		{[]string{"describe", "restore", ""}, "ended running"},
		{[]string{"describe", "schedule", ""}, "every-night"},
		{[]string{"describe", "schedule", "every-night", ""}, ""},
		{[]string{"delete", "backup", "o"}, "older"},
		{[]string{"hold", ""}, "backup naught nightly older"},
		{[]string{"drill", ""}, "nightly"}, // the other is not good
		{[]string{"drill", "nightly", ""}, ""},
		{[]string{"restore", "abort", ""}, "running"},
		{[]string{"schedule", "suspend", ""}, "every-night"},
		{[]string{"schedule", "trigger", "x"}, ""},
		{[]string{"retention", "explain", ""}, "every-night"},
		{[]string{"restore", "--from", ""}, "kisumu/ medic/"},
		{[]string{"restore", "--from", "medic/n"}, "medic/naught medic/nightly"},
		{[]string{"restore", "--from", "kisumu/"}, ""},
		{[]string{"restore", "--to", "k"}, "kisumu"},
		{[]string{"restore", "--storage-class", ""}, "fast"},
		{[]string{"restore", "--verify", "S"}, "Sample"},
		{[]string{"backup", "--quiesce", "P"}, "Pause"},
		{[]string{"list", "-o", ""}, "json name wide yaml"},
		{[]string{"doctor", "--check", "St"}, "Storage"},
		{[]string{"completion", "b"}, "bash"},
		{[]string{"version", ""}, ""},
		{[]string{"sched"}, "schedule"},
	} {
		got, directive := w.completed(t, tt.args...)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
		// 4 is "no files", 2 "no space".
		if want := map[bool]string{false: ":4", true: ":6"}[strings.HasSuffix(tt.want, "/")]; directive != want && tt.args[0] != "sched" {
			t.Errorf("%q: directive %s, want %s", tt.args, directive, want)
		}
	}
	if _, directive := w.completed(t, "restore", "--identity", ""); directive != ":0" {
		t.Errorf("the shell completes files: %s", directive)
	}
}

func TestCompleteDatabases(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	record := fullRecord("medic", "nightly", "u-1", day(1))
	if _, err := (catalog.Store{Client: w.WithWatch, Namespace: system}).Put(t.Context(), record, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.completed(t, "restore", "--from", "medic/nightly", "--database", "m"); !slices.Equal(got, []string{"medic"}) {
		t.Errorf("%q", got)
	}
	if got, _ := w.completed(t, "restore", "--database", ""); len(got) > 0 {
		t.Errorf("without a backup: %q", got)
	}
}

func TestCompleteFromACatalog(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	c := newCatalog(t)
	for _, namespace := range []string{"medic", "kisumu"} {
		c.put(t, fullRecord(namespace, "nightly", types.UID("u-"+namespace), day(1)), "c", false)
	}
	url := c.url
	for typed, want := range map[string]string{url + "/": url + "/kisumu/ " + url + "/medic/", url + "/medic/": url + "/medic/nightly", url + "/medic/nightly/": "", url + "-gone/": ""} {
		if got, _ := w.completed(t, "catalog", "show", typed); strings.Join(got, " ") != want {
			t.Errorf("%s: %q", typed, got)
		}
		if got, _ := w.completed(t, "restore", "--from", typed); strings.Join(got, " ") != want {
			t.Errorf("--from %s: %q", typed, got)
		}
	}
	t.Setenv(catalogVariable, url)
	for typed, want := range map[string]string{"": "kisumu/ medic/", "me": "medic/", "medic/": "medic/nightly"} {
		if got, _ := w.completed(t, "catalog", "import", typed); strings.Join(got, " ") != want {
			t.Errorf("%q in the catalog of the environment: %q", typed, got)
		}
	}
}

// Whoever presses Tab asks for no error, and waits for nobody.
func TestCompletionIsSilentAndBounded(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errors.New("connection refused")
	}})
	if got, directive := w.completed(t, "describe", "backup", ""); len(got) > 0 || directive != ":4" || strings.Contains(w.er.String()+w.out.String(), "refused") {
		t.Errorf("%q %s %s", got, directive, w.er)
	}
	if got, _ := w.completed(t, "restore", "--to", ""); !slices.Equal(got, []string{"medic"}) {
		t.Errorf("who may list no namespaces has his own: %q", got)
	}
	bounded := false
	w = newWorld(t, interceptor.Funcs{List: func(ctx context.Context, _ client.WithWatch, _ client.ObjectList, _ ...client.ListOption) error {
		_, bounded = ctx.Deadline()
		return nil
	}})
	if w.completed(t, "drill", ""); !bounded {
		t.Error("a cluster that does not answer is waited for")
	}
}

// The real root has kubectl's flags, too.
func TestCompletionOfKubectlsFlags(t *testing.T) {
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	t.Setenv("KUBECONFIG", "/nonexistent")
	root := New(streams, "test")
	root.SetArgs([]string{"__complete", "list", "--context", ""})
	if err := root.ExecuteContext(t.Context()); err != nil || strings.TrimSpace(out.String()) != ":4" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct{ argv, want string }{
		{"kubectl-cht list -A", "list -A"},
		{"/home/x/bin/kubectl_complete-cht describe n", "__complete describe n"},
		{`C:\bin\kubectl_complete-cht.exe list`, "__complete list"},
		{"kubectl-cht", ""},
		{"", ""},
	} {
		if got := Arguments(strings.Fields(tt.argv)); got == nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q", tt.argv, got)
		}
	}
}

func TestCompletionCommand(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "completion")
	if got := w.out.String(); !strings.Contains(got, "kubectl_complete-cht") || !strings.Contains(got, "source <(kubectl completion bash)") {
		t.Errorf("%s", got)
	}
	for shell, has := range map[string]string{"bash": "complete -o default", "zsh": "#compdef kubectl-cht", "fish": "complete -c kubectl-cht", "powershell": "Register-ArgumentCompleter"} {
		w.mustRun(t, exit.Good, nil, "completion", shell)
		if !strings.Contains(w.out.String(), has) {
			t.Errorf("%s: no script", shell)
		}
	}
	w.mustRun(t, exit.Usage, nil, "completion", "tcsh")
}
