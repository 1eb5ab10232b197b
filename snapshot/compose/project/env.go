package project

import (
	"fmt"
	"strings"
)

// ParseEnv reads a file of KEY=VALUE lines as Compose does: comments, "export", and
// quotes around values. Of a key that is there twice the last one counts. An error names
// the line and never repeats it: there are passwords among them.
func ParseEnv(text []byte) (map[string]string, error) {
	env := map[string]string{}
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(strings.TrimSuffix(line, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); key == "" || strings.ContainsAny(key, " \t'\"$") {
			return nil, fmt.Errorf("line %d is not of the form KEY=VALUE", n+1)
		}
		if !ok {
			continue // taken from the environment, which is not this program's
		}
		env[key] = unquote(strings.TrimSpace(value))
	}
	return env, nil
}

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\"`, `"`, `\\`, `\`, `\$`, `$`)

func unquote(value string) string {
	if value == "" {
		return ""
	}
	switch quote := value[0]; quote {
	case '\'', '"':
		end := closing(value[1:], quote)
		if end < 0 {
			return value
		}
		inner := value[1 : 1+end]
		if quote == '"' {
			return escapes.Replace(inner)
		}
		return inner
	}
	if i := strings.Index(value, " #"); i >= 0 { // a comment needs a blank before it
		value = strings.TrimSpace(value[:i])
	}
	return value
}

// closing finds the quote that ends a text.
func closing(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == '"':
			i++
		case s[i] == quote:
			return i
		}
	}
	return -1
}

// Fill puts values in the places of $NAME, ${NAME}, ${NAME:-other}, ${NAME-other},
// ${NAME:?why}, ${NAME?why}, ${NAME:+other}, ${NAME+other}; $$ is a dollar sign. What is
// not there is empty, as in Compose.
func Fill(text string, env map[string]string) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at == len(text)-1 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:at])
		text = text[at+1:]
		switch text[0] {
		case '$':
			out.WriteByte('$')
			text = text[1:]
		case '{':
			end := brace(text)
			if end < 0 {
				out.WriteString("$" + text)
				return out.String()
			}
			out.WriteString(expand(text[1:end], env))
			text = text[end+1:]
		default:
			n := nameLength(text)
			if n == 0 {
				out.WriteByte('$')
				continue
			}
			out.WriteString(env[text[:n]])
			text = text[n:]
		}
	}
}

// brace finds the end of {…}, in which there may be another ${…}.
func brace(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

func expand(inside string, env map[string]string) string {
	n := nameLength(inside)
	name, rest := inside[:n], inside[n:]
	value, set := env[name]
	if r, colon := strings.CutPrefix(rest, ":"); colon {
		rest, set = r, set && value != ""
	}
	if rest == "" {
		return value
	}
	other := rest[1:]
	switch rest[0] {
	case '-':
		if !set {
			return Fill(other, env)
		}
	case '+':
		if !set {
			return ""
		}
		return Fill(other, env)
	}
	return value
}
