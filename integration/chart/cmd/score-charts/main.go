// Command score-charts has kube-score look at the charts as they are rendered for every
// platform, and ends with 1 if it finds what is not meant. Run it in the repository's
// root; its argument is kube-score.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"

	"github.com/medic/cht-backup/integration/chart/score"
)

func main() {
	log.SetOutput(io.Discard) // Helm tells of the symbolic link to cht-backup each time
	if len(os.Args) != 2 {
		fail(errors.New("usage: score-charts PATH-OF-KUBE-SCORE"))
	}
	ok, err := run(context.Background(), os.Args[1])
	if err != nil {
		fail(err)
	}
	if !ok {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "score-charts:", err)
	os.Exit(2)
}

func run(ctx context.Context, kubeScore string) (bool, error) {
	var all []score.Finding
	ok := true
	for _, c := range score.Cases() {
		text, err := score.Render(".", c)
		if err != nil {
			return false, err
		}
		findings, err := look(ctx, kubeScore, text)
		if err != nil {
			return false, fmt.Errorf("%s: %w", c.Name, err)
		}
		left, _ := score.Judge(findings, score.Exceptions)
		for _, f := range left {
			fmt.Printf("%s of %s: %s\n", c.Name, c.Chart, f)
			ok = false
		}
		all = append(all, findings...)
	}
	_, needless := score.Judge(all, score.Exceptions)
	for _, e := range needless {
		fmt.Printf("nothing is found any more that exception %q %q is for: remove it from integration/chart/score\n", e.Check, e.Summary)
		ok = false
	}
	return ok, nil
}

// look runs kube-score, which ends with 1 where it finds something.
func look(ctx context.Context, kubeScore, text string) ([]score.Finding, error) {
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, kubeScore, "score", "--kubernetes-version", "v1.29", "--output-format", "json", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &complaints
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("run %s: %w: %s", kubeScore, err, complaints.String())
	}
	return score.Findings(out.Bytes())
}
