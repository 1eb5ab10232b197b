package boot

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// curl is as much of the curl in the CHT's image as its probes use: a GET within a time,
// headers from a configuration on standard input. Debian's static busybox has a wget,
// which crashes in a container without the C library.
const curl = "curl"

// Exit codes of curl.
const (
	curlUsage    = 2
	curlRefused  = 7
	curlStatus   = 22 // the answer was 400 or more, with -f
	curlTimedOut = 28
)

func runCurl(args []string, in io.Reader, out io.Writer) int {
	flags := flag.NewFlagSet(curl, flag.ContinueOnError)
	flags.Bool("s", false, "say nothing, as it does anyway")
	fail := flags.Bool("f", false, "fail where the status is 400 or more")
	within := flags.Float64("m", 0, "`SECONDS` at most")
	file := flags.String("o", "", "`FILE` for the answer")
	config := flags.String("K", "", "- reads header lines from standard input")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return curlUsage
	}
	ctx := context.Background()
	if *within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*within*float64(time.Second)))
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, flags.Arg(0), nil)
	if err != nil {
		return curlUsage
	}
	if *config == "-" {
		curlHeaders(req.Header, in)
	}
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return curlTimedOut
	} else if err != nil {
		return curlRefused
	}
	defer func() { _ = resp.Body.Close() }()
	if *fail && resp.StatusCode >= http.StatusBadRequest {
		return curlStatus
	}
	if *file != "" {
		to, err := os.OpenFile(*file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "curl:", err)
			return curlUsage
		}
		defer func() { _ = to.Close() }()
		out = to
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return curlTimedOut
	}
	return 0
}

// curlHeaders reads lines header = "NAME: VALUE".
func curlHeaders(into http.Header, in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		name, text, ok := strings.Cut(strings.Trim(strings.TrimSpace(value), `"`), ":")
		if strings.TrimSpace(key) == "header" && ok {
			into.Set(strings.TrimSpace(name), strings.TrimSpace(text))
		}
	}
}
