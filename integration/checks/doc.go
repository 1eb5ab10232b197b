// Package checks judges what the charts bring for Prometheus and Grafana by their own
// libraries: rules are run by Prometheus' rule engine over made-up series, queries of
// the dashboard are parsed, and every metric in them must be one that the controller
// serves. It is a module of its own, so that Prometheus never enters the product's.
package checks
