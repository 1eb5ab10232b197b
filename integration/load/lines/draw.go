package main

import (
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// picture is one of some series.
type picture struct {
	file, title, unit string
	per               float64 // what the numbers are divided by
	series            []string
}

var pictures = []picture{
	{"load-memory.png", "Memory of the leader, its garbage collected", "MB", 1e6, []string{"leader: own memory (bytes)", "leader: heap (bytes)"}},
	{"load-running.png", "What is open and runs", "", 1, []string{"leader: goroutines", "watches", "standby: goroutines", "leader: open files"}},
	{"load-objects.png", "Objects", "", 1, []string{"bucket: objects", "Backups", "VolumeSnapshotContents", "Secrets", "ConfigMaps", "Pods", "Leases"}},
}

var colours = []color.RGBA{{31, 119, 180, 255}, {214, 39, 40, 255}, {44, 160, 44, 255}, {148, 103, 189, 255}, {255, 127, 14, 255}, {23, 190, 207, 255}, {127, 127, 127, 255}}

// drawn draws a picture: the series, thin; their lines over the last half, thick; and a
// mark where another process came to lead.
func drawn(t table, from int, fits map[string]line, p picture) (*plot.Plot, error) {
	pl := plot.New()
	pl.Title.Text, pl.X.Label.Text, pl.Y.Label.Text = p.title, "hour", p.unit
	pl.Y.Min, pl.Legend.Top = 0, true
	pl.Add(plotter.NewGrid())
	top := 0.0
	for i, name := range p.series {
		var all plotter.XYs
		for j, v := range t.series[name] {
			all = append(all, plotter.XY{X: t.hours[j], Y: v / p.per})
			top = max(top, v/p.per)
		}
		l := fits[name]
		var straight plotter.XYs
		for _, h := range []float64{t.hours[from], t.hours[len(t.hours)-1]} {
			straight = append(straight, plotter.XY{X: h, Y: (l.level + l.slope*h) / p.per})
		}
		thin, err := plotter.NewLine(all)
		if err != nil {
			return nil, err
		}
		thick, err := plotter.NewLine(straight)
		if err != nil {
			return nil, err
		}
		thin.Color, thin.Width = colours[i%len(colours)], vg.Points(0.8)
		thick.Color, thick.Width = colours[i%len(colours)], vg.Points(2)
		pl.Add(thin, thick)
		pl.Legend.Add(name, thin)
	}
	for _, h := range t.changes() {
		mark, err := plotter.NewLine(plotter.XYs{{X: h, Y: 0}, {X: h, Y: top}})
		if err != nil {
			return nil, err
		}
		mark.Dashes, mark.Width, mark.Color = []vg.Length{vg.Points(2), vg.Points(2)}, vg.Points(0.7), color.Gray{128}
		pl.Add(mark)
	}
	pl.Y.Min, pl.Y.Max, pl.Legend.TextStyle.Font.Size = 0, top*1.45, font.Length(9) // room for the legend
	return pl, nil
}

func save(t table, from int, fits map[string]line, p picture, file string) (err error) {
	pl, err := drawn(t, from, fits, p)
	if err != nil {
		return err
	}
	canvas := vgimg.NewWith(vgimg.UseWH(vg.Points(620), vg.Points(250)), vgimg.UseDPI(96), vgimg.UseBackgroundColor(color.White))
	pl.Draw(draw.New(canvas))
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
