package ec2

import (
	"net/url"
	"strconv"
	"time"
)

// request is one call.
type request struct {
	id      string // of the request
	action  string
	form    url.Values
	who     identity
	region  *region
	ends    string // how what is made ends, by a fault
	service string // ec2 or sts
}

func (q *request) get(name string) string { return q.form.Get(name) }

func (q *request) is(name string) bool { return q.get(name) == "true" }

// must is a parameter that has to be there.
func (q *request) must(name string) (string, error) {
	if v := q.get(name); v != "" {
		return v, nil
	}
	return "", fail("MissingParameter", "The request must contain the parameter %s", name)
}

// number is a parameter within bounds; 0 if it is not given.
func (q *request) number(name string, least, most int) (int32, error) {
	text := q.get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Expecting a value between %d and %d.", text, name, least, most)
	}
	return int32(n), nil //nolint:gosec // within bounds that fit
}

// list is NAME.1, NAME.2, ….
func (q *request) list(name string) (values []string) {
	for i := 1; ; i++ {
		v, found := q.form[name+"."+strconv.Itoa(i)]
		if !found {
			return values
		}
		values = append(values, v[0])
	}
}

// each calls do with the prefix of each element of a list of structures that have a
// member of that name.
func (q *request) each(name, member string, do func(prefix string) error) error {
	for i := 1; ; i++ {
		prefix := name + "." + strconv.Itoa(i) + "."
		if _, found := q.form[prefix+member]; !found {
			return nil
		}
		if err := do(prefix); err != nil {
			return err
		}
	}
}

// moment is a parameter with a time.
func (q *request) moment(name string) (time.Time, error) {
	text := q.get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fail("InvalidParameterValue", "Value (%s) for parameter %s is not a time.", text, name)
	}
	return t.UTC(), nil
}
