package ec2

import "strings"

// filter is one of a request's: one of its values must match.
type filter struct {
	name   string
	values []string
}

type filters []filter

// filters reads a request's; those named, and those of tags, are known.
func (q *request) filters(known map[string]bool) (fs filters, err error) {
	values := 0
	err = q.each("Filter", "Name", func(p string) error {
		f := filter{name: q.get(p + "Name"), values: q.list(p + "Value")}
		if !known[f.name] && f.name != "tag-key" && !strings.HasPrefix(f.name, "tag:") {
			return fail("InvalidParameterValue", "The filter '%s' is invalid", f.name)
		}
		values += len(f.values)
		fs = append(fs, f)
		return nil
	})
	if err == nil && values > 200 {
		err = fail("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
	}
	return fs, err
}

// match says whether a resource passes all of them; of gives an attribute's values.
func (fs filters) match(of func(name string) []string, tags []Tag) bool {
	for _, f := range fs {
		passes := false
		switch key, isTag := strings.CutPrefix(f.name, "tag:"); {
		case isTag:
			v, found := tagValue(tags, key)
			passes = found && f.takes(v)
		case f.name == "tag-key":
			for _, t := range tags {
				passes = passes || f.takes(t.Key)
			}
		default:
			for _, v := range of(f.name) {
				passes = passes || f.takes(v)
			}
		}
		if !passes {
			return false
		}
	}
	return true
}

func (f filter) takes(value string) bool {
	for _, pattern := range f.values {
		if wild(pattern, value) {
			return true
		}
	}
	return false
}

// literal is the text a pattern stands for, if it has no wildcard.
func literal(pattern string) (string, bool) {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern, true
	}
	return "", false
}

// wild matches with * and ?, and \ before either to take it as it is. Case counts.
func wild(pattern, value string) bool {
	if text, plain := literal(pattern); plain {
		return text == value
	}
	p, v := []rune(pattern), []rune(value)
	star, from := -1, 0
	i, j := 0, 0
	for j < len(v) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
			continue
		case i < len(p) && p[i] == '\\' && i+1 < len(p) && p[i+1] == v[j]:
			i, j = i+2, j+1
			continue
		case i < len(p) && (p[i] == '?' || (p[i] == v[j] && p[i] != '\\')):
			i, j = i+1, j+1
			continue
		case star >= 0:
			from++
			i, j = star+1, from
			continue
		}
		return false
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
