package page

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Line prints a name and what there is to say of it.
func Line(out io.Writer, name, format string, values ...any) {
	_, _ = fmt.Fprintf(out, "%-12s%s\n", name, fmt.Sprintf(format, values...))
}

// Machine prints what machine this is: a figure without it means nothing.
func Machine(out io.Writer) {
	Line(out, "machine", "%d cores (%s), %s of memory, load average %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), LoadAverage())
	Line(out, "system", "%s %s, Linux %s", runtime.GOOS, runtime.GOARCH, firstLine("/proc/sys/kernel/osrelease"))
}

// LoadAverage is the machine's, over 1, 5 and 15 minutes.
func LoadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// Revision is the source's commit, where it is a git work tree.
func Revision(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "of no known commit"
	}
	return strings.TrimSpace(string(out))
}

func firstLine(path string) string {
	data, _ := os.ReadFile(path) // what cannot be read is shown empty
	text, _, _ := strings.Cut(string(data), "\n")
	return text
}

// field is the first value of that name in a file of "name : value" lines.
func field(path, name string) string {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}
