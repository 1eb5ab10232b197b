// Package charts holds charts/cht as it is rendered by the plugin when an instance of
// Docker Compose moves to Kubernetes. Its dependency, the controller, is left out: who
// restores has one.
package charts

import "embed"

// CHT is the chart, below the folder cht. Files are named one by one, since what begins
// with an underscore is left out of a folder, and links are refused.
//
//go:embed cht/Chart.yaml cht/values.yaml cht/values.schema.json cht/templates/*
var CHT embed.FS
