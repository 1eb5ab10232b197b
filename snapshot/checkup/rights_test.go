package checkup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// granted are the rights of the generated role, or roles.
func granted(t *testing.T) map[right]bool {
	t.Helper()
	files, err := filepath.Glob("../../charts/cht-backup/files/role*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no generated role: %v", err)
	}
	all := map[right]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			var role rbacv1.ClusterRole
			if err := yaml.Unmarshal([]byte(document), &role); err != nil {
				t.Fatal(err)
			}
			for _, rule := range role.Rules {
				if len(rule.ResourceNames) > 0 { // cannot be asked about in general
					continue
				}
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							all[right{group, resource, verb}] = true
						}
					}
				}
			}
		}
	}
	return all
}

func TestEveryRightOfTheRoleIsLookedAt(t *testing.T) {
	want := granted(t)
	asked := map[right]bool{}
	for _, n := range needs {
		for _, r := range n.rights() {
			if asked[r] {
				t.Errorf("%+v is there twice", r)
			}
			asked[r] = true
			if !want[r] {
				t.Errorf("%+v is looked for, and the role does not grant it: remove it from rights.go, or add the marker in cmd/cht-backup/rbac.go", r)
			}
		}
		if n.what == "" {
			t.Errorf("%+v is for nothing", n)
		}
	}
	for r := range want {
		if !asked[r] {
			t.Errorf("the role grants %+v, which nobody looks for: add it to rights.go", r)
		}
	}
	for _, n := range own {
		for _, r := range n.rights() {
			if !want[r] {
				t.Errorf("%+v of its own namespace is not granted", r)
			}
		}
	}
}
