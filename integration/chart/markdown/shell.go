package markdown

import (
	"fmt"
	"strings"
)

// Command is one simple command of a shell block: its words without the quotes,
// without variables that are set for it, redirections and comments.
type Command struct {
	Words []string
	Line  int
}

// Commands takes a shell block apart. It knows quotes, comments, continued lines, what
// stands between two commands, $(…), and redirections; a here-document is an error,
// since what is in it would be taken for commands.
func (b Block) Commands() ([]Command, error) {
	s := &shell{text: []rune(b.Text), line: b.Line}
	if err := s.run(0); err != nil {
		return nil, err
	}
	return s.done, nil
}

// Words are those of code in a line that is a command.
func Words(text string) ([]string, error) {
	all, err := Block{Text: text}.Commands()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0].Words, nil
}

type shell struct {
	text []rune
	at   int
	line int
	done []Command
}

func (s *shell) next() rune {
	r := s.text[s.at]
	s.at++
	if r == '\n' {
		s.line++
	}
	return r
}

func (s *shell) peek() rune {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// run reads up to end, or to the end of the text where that is 0.
func (s *shell) run(end rune) error {
	var words []string
	var word strings.Builder
	began, inWord, skip := s.line, false, false
	finish := func() {
		if inWord && !skip {
			words = append(words, word.String())
		}
		if inWord {
			skip = false
		}
		word.Reset()
		inWord = false
	}
	command := func() {
		finish()
		for len(words) > 0 && assignment(words[0]) {
			words = words[1:]
		}
		if len(words) > 0 {
			s.done = append(s.done, Command{Words: words, Line: began})
		}
		words, skip = nil, false
	}
	for s.at < len(s.text) {
		if len(words) == 0 && !inWord {
			began = s.line
		}
		switch r := s.next(); {
		case r == end && end != 0:
			command()
			return nil
		case r == '\\':
			if s.peek() == '\n' {
				s.next()
				finish()
				continue
			}
			inWord = true
			if s.at < len(s.text) {
				word.WriteRune(s.next())
			}
		case r == '\'' || r == '"':
			inWord = true
			line := s.line
			for {
				if s.at >= len(s.text) {
					return fmt.Errorf("line %d: %c is not closed", line, r)
				}
				q := s.next()
				if q == r {
					break
				}
				if r == '"' && q == '$' && s.peek() == '(' {
					s.next()
					if err := s.run(')'); err != nil {
						return err
					}
					q = '$'
				}
				word.WriteRune(q)
			}
		case r == '$' && s.peek() == '(':
			s.next()
			inWord = true
			word.WriteString("$")
			if err := s.run(')'); err != nil {
				return err
			}
		case r == '#' && !inWord:
			for s.at < len(s.text) && s.peek() != '\n' {
				s.next()
			}
		case r == '\n' || r == ';' || r == '|' || r == '&':
			command()
		case r == '<' && s.peek() == '<':
			return fmt.Errorf("line %d: a here-document; put the file into a block of its own", s.line)
		case r == '>' || r == '<':
			if w := word.String(); w == "2" || w == "1" {
				word.Reset()
				inWord = false
			}
			finish()
			for s.peek() == '>' || s.peek() == '&' {
				s.next()
			}
			skip = true
		case r == ' ' || r == '\t':
			finish()
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if end != 0 {
		return fmt.Errorf("line %d: $( is not closed", s.line)
	}
	command()
	return nil
}

func assignment(word string) bool {
	name, _, found := strings.Cut(word, "=")
	return found && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == ""
}
