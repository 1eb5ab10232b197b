package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// screen writes the report: plain text, with colour only where it can be seen.
type screen struct {
	out io.Writer
	// file is set where out is a terminal.
	file   *os.File
	colour bool
	step   int
}

func newScreen(f *os.File) *screen {
	s := &screen{out: f}
	if term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s.file, s.colour = f, os.Getenv("NO_COLOR") == ""
	}
	return s
}

const (
	red, green, yellow, bold, faint = "31", "32", "33", "1", "2"
	margin                          = "  "
)

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) print(text string) {
	_, _ = fmt.Fprintln(s.out, text) // there is nowhere to say that it failed
}

func (s *screen) title(text string) {
	s.step = 0
	s.print("\n" + s.paint(bold, text) + "\n" + strings.Repeat("═", len([]rune(text))))
}

// head opens a part: what happens, and why it matters.
func (s *screen) head(what, why string) {
	s.print("\n" + s.paint(bold, what))
	if why != "" {
		s.print(margin + s.paint(faint, why))
	}
}

// numbered is a head with the step's number.
func (s *screen) numbered(what, why string) {
	s.step++
	s.head(fmt.Sprintf("%d. %s", s.step, what), why)
}

func (s *screen) line(format string, args ...any) {
	s.print(strings.TrimRight(margin+fmt.Sprintf(format, args...), " "))
}

func (s *screen) good(format string, args ...any) {
	s.print(margin + s.paint(green, "✓") + " " + fmt.Sprintf(format, args...))
}

func (s *screen) bad(format string, args ...any) {
	s.print(margin + s.paint(red, "✗") + " " + fmt.Sprintf(format, args...))
}

// command shows what an operator would type.
func (s *screen) command(text string) { s.print(margin + s.paint(yellow, "$ "+text)) }

// indented writes whole lines with a margin.
func (s *screen) indented() *indenter { return &indenter{s: s} }

type indenter struct {
	s    *screen
	rest []byte
}

func (w *indenter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.s.line("  %s", line)
		w.rest = rest
	}
}

// flush writes a last line that had no end.
func (w *indenter) flush() {
	if len(w.rest) > 0 {
		w.s.line("  %s", w.rest)
		w.rest = nil
	}
}

func took(start time.Time) string { return " (" + short(time.Since(start)) + ")" }

// short writes a time as people say it.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return milliseconds(d)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// count writes a number with its thousands apart.
func count(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
