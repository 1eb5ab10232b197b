package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("lines", flag.ContinueOnError)
	images := flags.String("images", "", "folder for the pictures; none are drawn by default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("which table? One that the load test has written")
	}
	in, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	t, err := read(in)
	if err != nil {
		return fmt.Errorf("read %s: %w", flags.Arg(0), err)
	}
	from := t.last()
	fits, err := judge(t, from, out)
	if *images != "" {
		for _, p := range pictures {
			if drawErr := save(t, from, fits, p, filepath.Join(*images, p.file)); drawErr != nil {
				return errors.Join(err, fmt.Errorf("draw %s: %w", p.file, drawErr))
			}
		}
	}
	return err
}

// part begins the name of a series that is a part of the one before. It is not judged: parts
// may trade places, and of many lines of noise one seems to rise.
const part = "of it: "

// judge prints what each line does, and fails for those that rise.
func judge(t table, from int, out io.Writer) (map[string]line, error) {
	fits := map[string]line{}
	var rising []string
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "hours %.0f to %.0f\tmean\tslope in a day\t95%% interval\t\n", t.hours[from], t.hours[len(t.hours)-1])
	for _, name := range t.names {
		l, err := fit(t.hours[from:], t.series[name][from:])
		if err != nil {
			return fits, fmt.Errorf("%s: %w", name, err)
		}
		fits[name] = l
		verdict := "flat"
		switch {
		case strings.HasPrefix(name, part):
			verdict = "a part"
		case l.rises():
			verdict = "RISES"
			rising = append(rising, name)
		case !l.flat() && l.slope > 0:
			verdict = fmt.Sprintf("rises by %.2f%% in a week: immaterial", 100*l.slope*week/l.mean)
		case !l.flat():
			verdict = "falls"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s to %s\t%s\n", name, number(l.mean), number(l.slope*day), number((l.slope-l.within)*day), number((l.slope+l.within)*day), verdict)
	}
	_ = w.Flush()
	if len(rising) > 0 {
		return fits, fmt.Errorf("what should be flat rises: %s", strings.Join(rising, ", "))
	}
	return fits, nil
}

func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1e6 || v <= -1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4 || v <= -1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
