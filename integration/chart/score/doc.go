// Package score judges what kube-score says of the charts.
// In: the charts rendered for every platform, kube-score's findings, and the findings
// that are meant, each with its reason. Out: those that are not meant, and reasons that
// nothing needs any more. It calls nothing and renders nothing by itself but through
// package chart.
package score
