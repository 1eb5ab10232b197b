package score

import (
	"reflect"
	"testing"
)

const output = `[
 {"type_meta": {"kind": "Deployment"}, "object_meta": {"name": "a"}, "checks": [
  {"check": {"id": "limits"}, "grade": 1, "comments": [{"path": "c", "summary": "no limit"}, {"path": "d", "summary": "no request"}]},
  {"check": {"id": "skipped"}, "grade": 1, "skipped": true},
  {"check": {"id": "fine"}, "grade": 10, "comments": [{"summary": "fine"}]},
  {"check": {"id": "bare"}, "grade": 5}]}]`

func TestFindings(t *testing.T) {
	findings, err := Findings([]byte(output))
	want := []Finding{{"limits", "Deployment a", "c", "no limit"}, {"limits", "Deployment a", "d", "no request"}, {Check: "bare", Object: "Deployment a"}}
	if err != nil || !reflect.DeepEqual(findings, want) {
		t.Errorf("%+v, %v", findings, err)
	}
	for _, bad := range []string{"", "[]", "{}", "kube-score: no such file"} {
		if _, err := Findings([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestJudge(t *testing.T) {
	findings := []Finding{{"limits", "Deployment a", "c", "no limit"}, {"limits", "Job b", "c", "no limit"}, {"limits", "Deployment a", "d", "no request"}}
	for _, c := range []struct {
		name       string
		exceptions []Exception
		left       []Finding
		needless   int
	}{
		{"nothing is meant", nil, findings, 0},
		{"all of a check", []Exception{{Check: "limits"}}, nil, 0},
		{"by its words", []Exception{{Check: "limits", Summary: "request"}}, findings[:2], 0},
		{"by its object", []Exception{{Check: "limits", Objects: []string{"Job", "Pod"}}}, []Finding{findings[0], findings[2]}, 0},
		{"another check", []Exception{{Check: "limit"}}, findings, 1},
		{"one too many", []Exception{{Check: "limits"}, {Check: "limits", Objects: []string{"Pod"}}}, nil, 1},
	} {
		left, needless := Judge(findings, c.exceptions)
		if !reflect.DeepEqual(left, c.left) || len(needless) != c.needless {
			t.Errorf("%s: left %v, needless %v", c.name, left, needless)
		}
	}
}

func TestExceptionsHaveReasons(t *testing.T) {
	for _, e := range Exceptions {
		if e.Check == "" || len(e.Reason) < 20 {
			t.Errorf("%+v does not say why", e)
		}
	}
}
