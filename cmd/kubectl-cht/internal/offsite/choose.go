package offsite

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// IsURL tells a URL of a catalog from NAMESPACE/BACKUP, which has no scheme.
func IsURL(text string) bool { return strings.Contains(text, "://") }

// Entry is one backup as far as it is known without reading its record.
type Entry struct {
	Namespace, Name string
	UID             types.UID
	Cut             time.Time
	// Key finds it again in its source.
	Key string
	// Broken says why it cannot be restored; "" if nothing is known against it.
	Broken string
}

// Detail is what reading a record's manifest, or its tags, adds.
type Detail struct {
	Cluster     string
	Consistency api.Consistency
	// Broken as in Entry.
	Broken string
}

// Wanted is what stands on the command line.
type Wanted struct {
	Namespace string
	// Name of the backup; "" takes the newest good one.
	Name string
	UID  types.UID
	// AsOf bounds the cut; zero takes the newest.
	AsOf time.Time
	// Cluster that took it; "" where there is only one.
	Cluster string
}

// What names the wanted backup in a message.
func (w Wanted) What() string {
	if w.Name == "" {
		return "namespace " + w.Namespace
	}
	return "backup " + w.Namespace + "/" + w.Name
}

// ParseAsOf reads a moment in RFC 3339, or a date, which means its end in UTC: what
// was cut on that day is as of it.
func ParseAsOf(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, fmt.Errorf("%q is no moment; give RFC 3339 with a zone, such as 2026-03-01T06:30:00Z or 2026-03-01T06:30:00+03:00, or a date such as 2026-03-01, which means its end in UTC", text)
}

// Among gives the entries that may be meant, the newest cut first. With a name there
// is one of it, or the choice is refused with what there is.
func (w Wanted) Among(entries []Entry) ([]Entry, error) {
	named := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		return e.Namespace != w.Namespace || w.Name != "" && e.Name != w.Name
	})
	if len(named) == 0 {
		return nil, fmt.Errorf("there is no %s; there is: %s", w.noun(), namespaces(entries))
	}
	slices.SortStableFunc(named, newestFirst)
	meant := slices.DeleteFunc(slices.Clone(named), func(e Entry) bool { return w.UID != "" && e.UID != w.UID })
	if len(meant) == 0 {
		return nil, fmt.Errorf("%s has no record with UID %s; there is: %s", w.What(), w.UID, list(named))
	}
	if !w.AsOf.IsZero() {
		late := meant
		meant = slices.DeleteFunc(slices.Clone(late), func(e Entry) bool { return e.Cut.IsZero() || e.Cut.After(w.AsOf) })
		if len(meant) == 0 {
			return nil, fmt.Errorf("no backup of %s was cut at or before %s; the oldest is %s", w.What(), stamp(w.AsOf), list(late[len(late)-1:]))
		}
	}
	if w.Name != "" && len(meant) > 1 {
		return nil, fmt.Errorf("%d backups have the name %s/%s; choose one with --uid: %s", len(meant), w.Namespace, w.Name, list(meant))
	}
	return meant, nil
}

func (w Wanted) noun() string {
	if w.Name == "" {
		return "backup of namespace " + w.Namespace
	}
	return w.What()
}

// Pick takes of those that may be meant, newest first, the first that is good. detail
// gives what reading one adds. skipped tells of those that were passed over. One that
// was named, by its name or its UID, is taken though it is CrashConsistent, and refused
// when it is broken: another in its place is not what was asked for.
func (w Wanted) Pick(among []Entry, detail func(Entry) Detail) (picked Entry, skipped []string, err error) {
	if len(among) == 0 {
		return Entry{}, nil, fmt.Errorf("there is no %s", w.noun())
	}
	exact := w.Name != "" || w.UID != ""
	for _, e := range among {
		d := detail(e)
		if w.Cluster != "" && d.Broken == "" && e.Broken == "" && d.Cluster != w.Cluster {
			if exact {
				return Entry{}, skipped, fmt.Errorf("backup %s/%s (cut %s) was taken by cluster %s, not %s; leave --cluster out, or choose another", e.Namespace, e.Name, stamp(e.Cut), orUnknown(d.Cluster), w.Cluster)
			}
			continue
		}
		broken := e.Broken
		if broken == "" {
			broken = d.Broken
		}
		switch {
		case broken != "" && exact:
			return Entry{}, skipped, fmt.Errorf("backup %s/%s (cut %s, UID %s) cannot be restored: %s; choose another", e.Namespace, e.Name, stamp(e.Cut), e.UID, broken)
		case broken != "":
			skipped = append(skipped, fmt.Sprintf("%s (cut %s) is passed over: %s", e.Name, stamp(e.Cut), broken))
		case d.Consistency != api.Consistent && !exact:
			skipped = append(skipped, fmt.Sprintf("%s (cut %s) is passed over: it is %s; name it to restore it", e.Name, stamp(e.Cut), orUnknown(string(d.Consistency))))
		default:
			return e, skipped, nil
		}
	}
	what := w.What()
	if w.Cluster != "" {
		what += " of cluster " + w.Cluster
	}
	why := ""
	if len(skipped) > 0 {
		why = ": " + strings.Join(skipped, "; ")
	}
	return Entry{}, nil, fmt.Errorf("%s has no good backup%s", what, why)
}

// OneCluster refuses where the newest backup of a namespace would be of one of several
// clusters that have a namespace of that name: they are not the same CHT.
func (w Wanted) OneCluster(among []Entry, detail func(Entry) Detail) error {
	if w.Cluster != "" || w.Name != "" || w.UID != "" {
		return nil
	}
	var order []string
	newest := map[string]Entry{}
	for _, e := range among {
		d := detail(e)
		if e.Broken != "" || d.Broken != "" {
			continue
		}
		if _, seen := newest[d.Cluster]; !seen {
			newest[d.Cluster] = e
			order = append(order, d.Cluster)
		}
	}
	if len(order) < 2 {
		return nil
	}
	var which []string
	for _, c := range order {
		which = append(which, fmt.Sprintf("%s (newest %s)", orUnknown(c), stamp(newest[c].Cut)))
	}
	return fmt.Errorf("%d clusters have backups of a namespace %s, which need not be the same CHT; choose one with --cluster: %s", len(order), w.Namespace, strings.Join(which, ", "))
}

func newestFirst(a, b Entry) int {
	if c := b.Cut.Compare(a.Cut); c != 0 {
		return c
	}
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(string(a.UID), string(b.UID))
}

// most bounds the lists in messages.
const most = 10

func list(entries []Entry) string {
	var which []string
	for _, e := range entries {
		which = append(which, fmt.Sprintf("%s %s (cut %s)", e.Name, e.UID, stamp(e.Cut)))
	}
	return few(which)
}

func namespaces(entries []Entry) string {
	var names []string
	for _, e := range entries {
		if !slices.Contains(names, e.Namespace) {
			names = append(names, e.Namespace)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	slices.Sort(names)
	return "namespaces " + few(names)
}

func few(names []string) string {
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}
