package tool

import (
	"fmt"
	"os/exec"
	"strings"
)

// Run runs a tool to its end.
func Run(argv ...string) error {
	_, err := Output(argv...)
	return err
}

// Output runs a tool to its end and returns its standard output.
func Output(argv ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()+string(out)))
	}
	return string(out), nil
}
