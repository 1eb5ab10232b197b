package checkup

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Format of the report. It is raised when a field changes its meaning or goes;
	// fields and checks may be added without.
	Format = 1
	// Label is on every ConfigMap that holds a report, with the value "true".
	Label = "backup.communityhealthtoolkit.org/checkup"
	// Name is the ConfigMap's, unless the setting checkup-name says otherwise.
	Name = "cht-backup-checkup"
	// Key is the report's in the ConfigMap.
	Key = "report.json"
	// Interval is how often the controller looks.
	Interval = 10 * time.Minute
	// Stale is the age from which a report says nothing any more: nobody renews it.
	Stale = 3 * Interval
)

// The names of the checks. One that passed is in the report, too.
const (
	// Permissions: the controller may do what it needs to in a namespace, or, without
	// a namespace, in the cluster.
	Permissions = "Permissions"
	// CatalogReachable: the catalog answers and is one. One catalog for all.
	CatalogReachable = "CatalogReachable"
	// CatalogWritable: an object was written there, read back and deleted.
	CatalogWritable = "CatalogWritable"
	// CatalogOutside: the catalog is not on a volume of this cluster.
	CatalogOutside = "CatalogOutside"
	// CatalogRecipients: the instances' Secrets are sealed into the catalog.
	CatalogRecipients = "CatalogRecipients"
	// SnapshotKinds: the API knows VolumeSnapshots.
	SnapshotKinds = "SnapshotKinds"
	// SnapshotClasses: for each driver it is clear which VolumeSnapshotClass is taken.
	SnapshotClasses = "SnapshotClasses"
	// Clock: the controller's clock is that of the API server.
	Clock = "Clock"
	// FreezerAdmitted: the freezer pod would be admitted in a namespace.
	FreezerAdmitted = "FreezerAdmitted"
	// NamespaceServed: a namespace of the setting `namespaces` is there.
	NamespaceServed = "NamespaceServed"
)

// Report is what a controller found.
type Report struct {
	Format int `json:"format"`
	// Version of the controller.
	Version string `json:"version"`
	// Time it looked.
	Time time.Time `json:"time"`
	// Namespaces it serves by its settings; none for all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Catalog is its URL, without credentials; "" for none.
	Catalog string  `json:"catalog,omitempty"`
	Checks  []Check `json:"checks"`
}

// Check is one of them.
type Check struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	// Unknown: it could not be found out, for the reason in Message. OK is false then.
	Unknown bool `json:"unknown,omitempty"`
	// Namespace it is about, "" for the whole cluster.
	Namespace string `json:"namespace,omitempty"`
	// Message in words, Next what to do. The latter is empty where all is well.
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

// Serves tells whether the controller of a report serves a namespace.
func (r Report) Serves(namespace string) bool {
	if len(r.Namespaces) == 0 {
		return true
	}
	for _, n := range r.Namespaces {
		if n == namespace {
			return true
		}
	}
	return false
}

// Bounds of a report, so that it fits into a ConfigMap whatever failed.
const (
	mostChecks  = 600
	longestText = 500
	longestJSON = 900 << 10
)

// ConfigMap is the report's.
func (r Report) ConfigMap(namespace, name string) (*corev1.ConfigMap, error) {
	if left := len(r.Checks) - mostChecks; left > 0 {
		r.Checks = append(r.Checks[:mostChecks:mostChecks], Check{Check: Permissions, Unknown: true, Message: fmt.Sprintf("%d more checks did not fit into this report", left)})
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the check-up: %w", err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{Label: "true", "app.kubernetes.io/name": "cht-backup"}},
		Data:       map[string]string{Key: string(text)},
	}, nil
}

// Read reads a report. Whoever may write ConfigMaps there may have written it.
func Read(m *corev1.ConfigMap) (Report, error) {
	var r Report
	text := m.Data[Key]
	switch {
	case text == "":
		return r, fmt.Errorf("ConfigMap %s/%s has no %s", m.Namespace, m.Name, Key)
	case len(text) > longestJSON:
		return r, fmt.Errorf("ConfigMap %s/%s: %s has %d bytes; %d are the most", m.Namespace, m.Name, Key, len(text), longestJSON)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("ConfigMap %s/%s: %w", m.Namespace, m.Name, err)
	}
	if r.Format != Format {
		return r, fmt.Errorf("ConfigMap %s/%s holds a check-up of format %d, this version reads %d; use the plugin of the controller's version", m.Namespace, m.Name, r.Format, Format)
	}
	if len(r.Checks) > mostChecks+1 {
		r.Checks = r.Checks[:mostChecks+1]
	}
	return r, nil
}

// pass, fail and unknown make a Check; its texts are made one line and cut short.

func pass(check, namespace, format string, args ...any) Check {
	return Check{Check: check, OK: true, Namespace: namespace, Message: line(fmt.Sprintf(format, args...))}
}

func fail(check, namespace, next, format string, args ...any) Check {
	return Check{Check: check, Namespace: namespace, Message: line(fmt.Sprintf(format, args...)), Next: line(next)}
}

func unknown(check, namespace, next string, err error) Check {
	return Check{Check: check, Unknown: true, Namespace: namespace, Message: line(err.Error()), Next: line(next)}
}

func line(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longestText {
		s = strings.ToValidUTF8(s[:longestText], "") + "…"
	}
	return s
}
