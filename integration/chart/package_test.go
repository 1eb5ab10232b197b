package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

// What `helm package` makes of a chart installs what the folder does: the dependency,
// which is a link in the folder, is in it whole, and nothing that only serves the
// repository.
func TestPackaged(t *testing.T) {
	for name, given := range map[string]map[string]any{"cht": chtValues(t, ""), "cht-backup": {}} {
		t.Run(name, func(t *testing.T) {
			folder := "../../charts/" + name
			release := Release{Name: "x", Namespace: "medic"}
			want, err := Render(folder, given, release)
			if err != nil {
				t.Fatal(err)
			}
			c, err := loader.Load(folder)
			if err != nil {
				t.Fatal(err)
			}
			archive, err := chartutil.Save(c, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if c, err = loader.Load(archive); err != nil {
				t.Fatal(err)
			}
			for _, f := range c.Raw {
				if strings.HasSuffix(f.Name, ".gotmpl") {
					t.Errorf("%s is in the archive", f.Name)
				}
			}
			got, err := RenderChart(c, given, release)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range [][2]int{{len(got.Objects), len(want.Objects)}, {len(got.Hooks), len(want.Hooks)}, {len(got.CRDs), len(want.CRDs)}} {
				if part[0] != part[1] || part[1] == 0 {
					t.Errorf("%d objects of the archive, %d of the folder", part[0], part[1])
				}
			}
			for i, o := range want.Objects {
				if g := got.Objects[i]; g.GetKind() != o.GetKind() || g.GetName() != o.GetName() {
					t.Errorf("%s %s, want %s %s", g.GetKind(), g.GetName(), o.GetKind(), o.GetName())
				}
			}
		})
	}
}
