package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"time"
)

func main() {
	only := flag.String("run", "", "only mutants whose name matches this regular expression")
	list := flag.Bool("list", false, "print the list as a table, and run nothing")
	parallel := flag.Int("parallel", 2, "mutants at a time")
	verbose := flag.Bool("v", false, "print what the tests say")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chosen, err := choose(*only)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case *list:
		fmt.Print(table(chosen))
	case !runAll(ctx, chosen, *parallel, *verbose):
		os.Exit(1)
	}
}

func choose(only string) (chosen []mutant, err error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	for _, m := range mutants {
		if pattern.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutant matches %q; -list names them all", only)
	}
	return chosen, nil
}

func table(chosen []mutant) string {
	var b strings.Builder
	b.WriteString("| without | in | fails |\n|---|---|---|\n")
	for _, m := range chosen {
		fmt.Fprintf(&b, "| %s | `%s` | `%s` |\n", m.name, m.file, m.test)
	}
	return b.String()
}

// runAll runs the tests as they are, then with each mutant, and tells whether all is as
// it has to be.
func runAll(ctx context.Context, chosen []mutant, parallel int, verbose bool) (good bool) {
	began := time.Now()
	if err := unchanged(ctx, chosen); err != nil {
		fmt.Println(err)
		return false
	}
	var mu sync.Mutex
	good = true
	var all sync.WaitGroup
	places := make(chan struct{}, max(parallel, 1))
	for _, m := range chosen {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			at := time.Now()
			said, err := m.killed(ctx)
			mu.Lock()
			defer mu.Unlock()
			took := time.Since(at).Round(100 * time.Millisecond)
			if err != nil {
				good = false
				fmt.Printf("SURVIVED  %s (%s, %s): %v\n", m.name, m.file, took, err)
				return
			}
			fmt.Printf("killed    %s, by %s of %s (%s)\n", m.name, m.test, m.pkg, took)
			if verbose {
				fmt.Print(said)
			}
		})
	}
	all.Wait()
	fmt.Printf("%d mutants in %s\n", len(chosen), time.Since(began).Round(time.Second))
	return good
}
