package node

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// mapFun is a map function of the supported form, taken apart.
type mapFun struct {
	path   []string // condition: doc.path is there (or true)
	equals any      // and equals this, when set
	equal  bool
	key    expr
	value  expr
}

// expr is doc, doc.a.b, a JSON scalar or a list of these.
type expr struct {
	path    []string
	doc     bool
	literal any
	list    []expr
	isList  bool
}

var (
	emitForm = regexp.MustCompile(`emit\s*\(\s*(\[[^\]]*\]|[^,()\[\]]+)\s*(?:,\s*(\[[^\]]*\]|[^,()\[\]]+)\s*)?\)`)
	ifForm   = regexp.MustCompile(`if\s*\(\s*doc\.([\w.]+)\s*(?:={2,3}\s*('[^']*'|"[^"]*"|[\w.-]+)\s*)?\)`)
)

func parseMapFun(src string) (*mapFun, error) {
	m := emitForm.FindStringSubmatch(src)
	if m == nil {
		return nil, fmt.Errorf("map function without a supported emit: %.60s", src)
	}
	f := &mapFun{}
	var err error
	if f.key, err = parseExpr(m[1]); err != nil {
		return nil, err
	}
	if m[2] == "" {
		m[2] = "null"
	}
	if f.value, err = parseExpr(m[2]); err != nil {
		return nil, err
	}
	if c := ifForm.FindStringSubmatch(src); c != nil {
		f.path = strings.Split(c[1], ".")
		if c[2] != "" {
			e, err := parseExpr(c[2])
			if err != nil {
				return nil, err
			}
			f.equals, f.equal = e.literal, true
		}
	}
	return f, nil
}

func parseExpr(src string) (expr, error) {
	src = strings.TrimSpace(src)
	switch {
	case src == "doc":
		return expr{doc: true}, nil
	case strings.HasPrefix(src, "doc."):
		return expr{path: strings.Split(src[4:], ".")}, nil
	case strings.HasPrefix(src, "["):
		e := expr{isList: true}
		for _, part := range strings.Split(strings.Trim(src, "[]"), ",") {
			if strings.TrimSpace(part) == "" {
				continue
			}
			item, err := parseExpr(part)
			if err != nil {
				return e, err
			}
			e.list = append(e.list, item)
		}
		return e, nil
	case strings.HasPrefix(src, "'"):
		src = `"` + strings.Trim(src, "'") + `"`
	}
	var e expr
	if err := json.Unmarshal([]byte(src), &e.literal); err != nil {
		return e, fmt.Errorf("map function: %q is not supported", src)
	}
	return e, nil
}

func (e expr) eval(doc map[string]any) (any, bool) {
	switch {
	case e.doc:
		return doc, true
	case e.isList:
		out := make([]any, len(e.list))
		for i, item := range e.list {
			out[i], _ = item.eval(doc)
		}
		return out, true
	case e.path != nil:
		return lookup(doc, e.path)
	}
	return e.literal, true
}

func lookup(doc map[string]any, path []string) (any, bool) {
	var v any = doc
	for _, name := range path {
		obj, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = obj[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// run maps a document to at most one row. An undefined key is null, as emit does.
func (f *mapFun) run(doc map[string]any) (key, value any, ok bool) {
	if f.path != nil {
		v, there := lookup(doc, f.path)
		if f.equal && v != f.equals || !f.equal && (!there || v == nil || v == false || v == "" || v == 0.0) {
			return nil, nil, false
		}
	}
	key, _ = f.key.eval(doc)
	value, _ = f.value.eval(doc)
	return key, value, true
}

// collate orders keys as CouchDB: null, false, true, numbers, strings, lists,
// objects; strings by bytes, where CouchDB asks ICU.
func collate(a, b any) int {
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra - rb
	}
	switch x := a.(type) {
	case float64:
		switch y := b.(float64); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
	case string:
		return strings.Compare(x, b.(string))
	case []any:
		y := b.([]any)
		for i := range min(len(x), len(y)) {
			if c := collate(x[i], y[i]); c != 0 {
				return c
			}
		}
		return len(x) - len(y)
	case map[string]any:
		return len(x) - len(b.(map[string]any))
	}
	return 0
}

func rank(v any) int {
	switch v := v.(type) {
	case nil:
		return 0
	case bool:
		if !v {
			return 1
		}
		return 2
	case float64:
		return 3
	case string:
		return 4
	case []any:
		return 5
	}
	return 6
}
