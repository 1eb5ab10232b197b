package show

import (
	"strings"
	"unicode/utf8"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
)

// Paint colours text where the output is a terminal that wants it.
type Paint bool

func (p Paint) phase(phase api.Phase, text string) string {
	switch {
	case !bool(p):
		return text
	case phase == api.PhaseCompleted:
		return "\x1b[32m" + text + "\x1b[0m"
	case phase == api.PhaseFailed:
		return "\x1b[31m" + text + "\x1b[0m"
	default:
		return "\x1b[33m" + text + "\x1b[0m"
	}
}

func (p Paint) level(level status.Level, text string) string {
	switch {
	case !bool(p):
		return text
	case level == status.Critical:
		return "\x1b[31m" + text + "\x1b[0m"
	case level == status.Warning:
		return "\x1b[33m" + text + "\x1b[0m"
	default:
		return "\x1b[32m" + text + "\x1b[0m"
	}
}

// printable drops control characters: messages may carry what a database or a
// driver said, and must not steer the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
			return -1
		}
		return r
	}, s)
}

// OneLine makes a text fit for one line of a terminal.
func OneLine(s string) string { return oneLine(s) }

func oneLine(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

// clip cuts s to width characters; 0 means no bound.
func clip(s string, width int) string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// columns aligns rows under an indent, the last column ragged.
func columns(indent string, rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			cell = printable(cell)
			row[i] = cell
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range rows {
		line := indent
		for i, cell := range row {
			line += cell
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}
