package main

import "testing"

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"--nodes", "1"}, {"--runs", "-1"}, {"--least", "2s", "--most", "1s"}, {"--instances", "0"}, {"--keep", "0"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	if o, err := parse([]string{"--instances", "20"}); err != nil || o.nights.Instances != 20 || o.nights.Nights != 30 || o.runs != 20 {
		t.Errorf("%+v, %v", o, err)
	}
}
