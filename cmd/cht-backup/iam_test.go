package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The policies in the chart list what the code calls, and nothing else. What it calls
// is read from the code: nobody can call EC2 without a value of the call's input type.

const (
	root     = "../.."
	policies = root + "/charts/cht-backup/files/iam"
	ec2Path  = "github.com/aws/aws-sdk-go-v2/service/ec2"
	stsPath  = "github.com/aws/aws-sdk-go-v2/service/sts"
	roles    = "github.com/aws/aws-sdk-go-v2/credentials/stscreds"
)

// policyOf says which policy covers the code of a directory. "" is code that runs with
// the user's own credentials, in the plugin.
func policyOf(directory string) (policy string, known bool) {
	for prefix, policy := range map[string]string{"snapshot": "backup.json", "cmd/cht-backup": "backup.json", "schedule": "backup.json", "restore": "restore.json", "cmd/kubectl-cht": ""} {
		if directory == prefix || strings.HasPrefix(directory, prefix+"/") {
			return policy, true
		}
	}
	return "", false
}

// free are calls that need no permission.
var free = []string{"sts:GetCallerIdentity"}

func TestPoliciesListWhatTheCodeCalls(t *testing.T) {
	called := calls(t)
	for _, policy := range []string{"backup.json", "restore.json"} {
		used, path := called[policy], filepath.Join(policies, policy)
		if _, err := os.Stat(path); os.IsNotExist(err) && len(used) == 0 {
			continue // and nothing calls
		}
		listed := actions(t, path)
		for _, a := range slices.Sorted(maps.Keys(used)) {
			if !slices.Contains(listed, a) {
				t.Errorf("%s lacks %s, which %s calls", policy, a, used[a])
			}
		}
		for _, a := range listed {
			if _, yes := used[a]; !yes && !besides(a) {
				t.Errorf("%s allows %s, which nothing calls", policy, a)
			}
		}
	}
}

// besides are permissions that a call needs beside its own, or that other services
// than EC2 need; their parts test them.
func besides(action string) bool {
	return strings.HasPrefix(action, "kms:") || strings.HasPrefix(action, "s3:")
}

// calls are what the code calls, by policy and action, with a file that does.
func calls(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{"backup.json": {}, "restore.json": {}}
	inDirectory, hidden := map[string]bool{}, map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "integration" || strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		made, mentioned := callsIn(t, path)
		if len(made)+len(mentioned) == 0 {
			return nil
		}
		directory := filepath.ToSlash(filepath.Dir(name))
		for _, a := range made {
			inDirectory[directory+" "+a] = true
		}
		for _, a := range mentioned {
			hidden[directory+" "+a] = name
		}
		policy, known := policyOf(directory)
		if !known {
			t.Errorf("%s calls AWS (%v), and no policy is known for its directory", name, made)
		}
		if policy == "" {
			return nil
		}
		for _, a := range made {
			all[policy][a] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for call, name := range hidden {
		if !inDirectory[call] {
			t.Errorf("%s names the input of a call (%s) that no file beside it makes: drop it, or make the value where this test sees it", name, call)
		}
	}
	return all
}

// callsIn are the calls that a file makes: the input types of which it makes a value. A
// value that is made in a way this does not see would be missed, so any other mention
// than as a type in a signature is an error.
func callsIn(t *testing.T, path string) (made, mentioned []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	services := map[string]string{} // by the name the file imports it as
	for _, i := range file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch name := p[strings.LastIndex(p, "/")+1:]; p {
		case ec2Path, stsPath:
			if i.Name != nil {
				name = i.Name.Name
			}
			if name == "." {
				t.Fatalf("%s imports %s without a name, which hides its calls", path, p)
			}
			services[name] = p[strings.LastIndex(p, "/")+1:]
		case roles:
			made = append(made, "sts:AssumeRole")
		case ec2Path + "/types":
			if i.Name == nil {
				services["types"] = "types"
			} else {
				services[i.Name.Name] = "types"
			}
		}
	}
	input := func(e ast.Expr) string {
		s, ok := e.(*ast.SelectorExpr)
		if !ok {
			return ""
		}
		x, ok := s.X.(*ast.Ident)
		if !ok || services[x.Name] == "" {
			return ""
		}
		if services[x.Name] == "types" {
			if s.Sel.Name == "TagSpecification" { // tags in the same call
				return "ec2:CreateTags"
			}
			return ""
		}
		if action, yes := strings.CutSuffix(s.Sel.Name, "Input"); yes {
			return services[x.Name] + ":" + action
		}
		return ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			of := n.Type
			if list, yes := of.(*ast.ArrayType); yes {
				of = list.Elt
			}
			if a := input(of); a != "" && !slices.Contains(free, a) {
				made = append(made, a)
			}
		case *ast.CallExpr:
			if f, yes := n.Fun.(*ast.Ident); yes && f.Name == "new" && len(n.Args) == 1 && input(n.Args[0]) != "" {
				made = append(made, input(n.Args[0]))
			}
		case *ast.ValueSpec:
			if a := input(n.Type); a != "" {
				t.Errorf("%s: a variable of type %s hides the call; make the value where it is called", path, a)
			}
		case *ast.SelectorExpr:
			if a := input(n); a != "" && !slices.Contains(free, a) {
				mentioned = append(mentioned, a)
			}
		}
		return true
	})
	return made, mentioned
}

// actions are what a policy allows.
func actions(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // of this repository
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect string
			Action      any
			Resource    any
			Condition   map[string]map[string]any
		}
	}
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var all []string
	for _, s := range policy.Statement {
		list, several := s.Action.([]any)
		if !several {
			list = []any{s.Action}
		}
		for _, a := range list {
			action, ok := a.(string)
			if !ok || s.Effect != "Allow" || strings.Contains(action, "*") || s.Sid == "" || s.Resource == nil {
				t.Errorf("%s: statement %q: %v is no action allowed by its name", path, s.Sid, a)
			}
			if strings.HasPrefix(action, "ec2:Delete") && s.Condition == nil {
				t.Errorf("%s: statement %q allows %s of anything, not only of what bears our tag", path, s.Sid, action)
			}
			all = append(all, action)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
