package main

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// dockerfile gives the instructions of the image's Dockerfile, by stage.
func dockerfile(t *testing.T) (stages [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "ARG GO_IMAGE"):
		case strings.HasPrefix(line, "FROM "):
			stages = append(stages, []string{line})
		case len(stages) == 0:
			t.Fatalf("%s: before any FROM", line)
		default:
			stages[len(stages)-1] = append(stages[len(stages)-1], line)
		}
	}
	return stages
}

// The image is one file: there is no shell, no package and no account in it, and nobody
// it could run as root by.
func TestImage(t *testing.T) {
	stages := dockerfile(t)
	want := []string{"FROM scratch", "COPY --from=build /cht-backup /cht-backup", "USER 65532:65532", `ENTRYPOINT ["/cht-backup"]`}
	if last := stages[len(stages)-1]; len(stages) != 2 || !slices.Equal(last, want) {
		t.Errorf("%d stages, the last is\n%s", len(stages), strings.Join(last, "\n"))
	}
	if !slices.Contains(stages[0], "RUN go mod download && go mod verify") {
		t.Error("the modules are not verified")
	}
}

// TestImageBinary builds the image's file as the Dockerfile does, and reads from it what
// `go version -m` prints: all that it is made of, each with the sum that go.sum has.
func TestImageBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "cht-backup")
	var build string
	for _, line := range dockerfile(t)[0] {
		if command, ok := strings.CutPrefix(line, "RUN CGO_ENABLED=0 go build "); ok {
			build = strings.ReplaceAll(command, "-o /cht-backup ", "-o "+binary+" ")
		}
	}
	if !strings.Contains(build, binary) {
		t.Fatalf("the Dockerfile has no build of /cht-backup without cgo: %q", build)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "go build "+build) //nolint:gosec // the Dockerfile's
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "VERSION=v0.0.0-test")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if runtime.GOOS == "linux" {
		f, err := elf.Open(binary)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // only read
		if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("it needs %v, %v: an image from scratch has no libraries and no loader", libraries, err)
		}
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || info.GoVersion == "" {
		t.Errorf("built by %s with %v", info.GoVersion, settings)
	}
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 50 {
		t.Errorf("it tells of %d modules", len(info.Deps))
	}
	for _, m := range info.Deps {
		if m.Replace != nil || !strings.Contains(string(sums), m.Path+" "+m.Version+" "+m.Sum+"\n") {
			t.Errorf("module %s %s %s (in its place %v) is not one of go.sum", m.Path, m.Version, m.Sum, m.Replace)
		}
	}
}
