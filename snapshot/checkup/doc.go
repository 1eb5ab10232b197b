// Package checkup is what the controller finds when it looks at itself: whether it
// may do what it needs to, whether it reaches the catalog, and what would be admitted
// in the namespaces it serves.
// In: its rights, the catalog, the clock of the API server. Out: a Report, as JSON in a
// ConfigMap of its namespace, which `kubectl cht doctor` reads. It repairs nothing, and
// no text in it holds a credential.
package checkup
