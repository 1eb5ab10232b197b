package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestEarlierCharts sees which commit is taken: the newest that differs and has what is
// needed.
func TestEarlierCharts(t *testing.T) {
	c := &Cluster{root: t.TempDir()}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		cmd.Dir = c.root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	write := func(path, text string) {
		t.Helper()
		file := filepath.Join(c.root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const needed = "charts/cht/Chart.yaml"
	if _, err := c.earlierCommit(t.Context(), nil); err == nil {
		t.Error("there is an earlier commit without git")
	}
	git("init", "-q")
	for i, text := range []string{"", "one", "two", "two"} {
		write("other", string(rune('a'+i)))
		write("charts/cht-backup/Chart.yaml", text)
		if text != "" {
			write(needed, text)
		}
		git("add", "-A")
		git("commit", "-qm", text+"-")
	}
	folder, commit := c.EarlierCharts(t, needed)
	if got, err := os.ReadFile(filepath.Join(folder, "cht/Chart.yaml")); string(got) != "one" {
		t.Errorf("commit %s has %q, %v", commit, got, err)
	}
	write(needed, "not committed")
	folder, commit = c.EarlierCharts(t, needed)
	if got, err := os.ReadFile(filepath.Join(folder, "cht/Chart.yaml")); string(got) != "two" {
		t.Errorf("commit %s has %q, %v", commit, got, err)
	}
	if _, err := c.earlierCommit(t.Context(), []string{"charts/none"}); err == nil {
		t.Error("a commit without what is needed was taken")
	}
}
