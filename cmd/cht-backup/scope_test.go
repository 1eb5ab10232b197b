package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
)

func TestScope(t *testing.T) {
	for name, tt := range map[string]struct {
		c    config
		want string // the error
	}{
		"all":                    {config{Name: "cht-backup", RBACScope: "Cluster"}, ""},
		"some":                   {config{Name: "medic-cht-backup", RBACScope: "Cluster", Namespaces: []string{"a", "b"}}, ""},
		"rights in some":         {config{Name: "cht-backup", RBACScope: "Namespaced", Namespaces: []string{"a"}}, ""},
		"rights in none":         {config{Name: "cht-backup", RBACScope: "Namespaced"}, "namespaces is empty"},
		"rights in nobody knows": {config{Name: "cht-backup", RBACScope: "namespaced"}, `"namespaced", neither Cluster nor Namespaced`},
		"a name that is none":    {config{Name: "", RBACScope: "Cluster"}, "names no Lease"},
		"a pattern":              {config{Name: "cht-backup", RBACScope: "Cluster", Namespaces: []string{"cht-*"}}, `"cht-*" is no name of a namespace`},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.c.checkScope()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What is watched: where there are rights, and of all Leases those that say who serves.
func TestCached(t *testing.T) {
	wide := config{Namespace: "home", Namespaces: []string{"a"}, RBACScope: "Cluster"}.cached(true)
	narrow := config{Namespace: "home", Namespaces: []string{"a", "b"}, RBACScope: "Namespaced"}.cached(true)
	if len(wide.DefaultNamespaces) > 0 || wide.NewInformer != nil {
		t.Error("one with rights in all namespaces does not watch all: it would not see its scratch namespaces")
	}
	if got := slices.Sorted(maps.Keys(narrow.DefaultNamespaces)); !slices.Equal(got, []string{"a", "b", "home"}) || narrow.NewInformer == nil {
		t.Errorf("one with rights in two watches %v", got)
	}
	found := false
	for o, by := range wide.ByObject {
		if _, is := o.(*coordinationv1.Lease); is {
			found = by.Field.Matches(fields.Set{"metadata.name": "cht-backup-serves"}) && !by.Field.Matches(fields.Set{"metadata.name": "x"})
		}
	}
	if !found {
		t.Error("all Leases of the cluster are watched")
	}
}
