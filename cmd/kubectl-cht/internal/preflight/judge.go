package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Problem is something that the cluster lacks.
type Problem struct {
	What string
	// Next says what to do.
	Next string
}

func (p Problem) String() string { return p.What + "; " + p.Next }

// Judge gives all problems, and notes on what does not stand in the way.
func Judge(n Needs, c Cluster) (problems []Problem, notes []string) {
	for _, judge := range []func(Needs, Cluster) ([]Problem, []string){controller, snapshots, drivers, classes, zones, capacity, target, rights} {
		p, also := judge(n, c)
		problems, notes = append(problems, p...), append(notes, also...)
	}
	if len(c.Unseen) > 0 {
		notes = append(notes, fmt.Sprintf("not looked at, since you may not see it: %s; the controller checks what it needs itself", strings.Join(c.Unseen, ", ")))
	}
	return problems, notes
}

func controller(n Needs, c Cluster) (problems []Problem, notes []string) {
	if !c.Ours {
		return []Problem{{"this cluster does not know the kinds of cht-backup", "install its chart: `helm install cht-backup charts/cht-backup -n " + c.System + " --create-namespace`, with controller.catalog.url and .recipients as before if backups shall go on into the catalog"}}, nil
	}
	if !c.saw(SeeControllers) {
		return nil, nil
	}
	ready := slices.IndexFunc(c.Controllers, func(d Controller) bool { return d.Ready > 0 })
	switch {
	case len(c.Controllers) == 0:
		problems = append(problems, Problem{"no controller of cht-backup is installed in namespace " + c.System, "install its chart there, or name the namespace it is in with --system-namespace"})
	case ready < 0:
		problems = append(problems, Problem{fmt.Sprintf("the controller (deployment %s/%s) has no pod that is ready", c.System, c.Controllers[0].Name), "see `kubectl get pods -n " + c.System + "` and `kubectl describe deployment " + c.Controllers[0].Name + " -n " + c.System + "`"})
	default:
		if tag := tagOf(c.Controllers[ready].Image); n.Version != "" && tag != "" && strings.TrimPrefix(tag, "v") != strings.TrimPrefix(n.Version, "v") {
			notes = append(notes, fmt.Sprintf("the controller is of version %s, this plugin of %s; what the older one does not know it refuses", tag, n.Version))
		}
	}
	return problems, notes
}

// tagOf is what follows the last colon of an image's name, a digest left out.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return ""
}

// snapshots: a VolumeSnapshotClass is not needed, since snapshots are imported by
// their handles.
func snapshots(n Needs, c Cluster) ([]Problem, []string) {
	csi := n.of(func(v Volume) bool { return !v.EBS && !v.Files })
	if c.Snapshots || len(csi) == 0 {
		return nil, nil
	}
	return []Problem{{"this cluster does not know VolumeSnapshots, through which the volumes of " + join(csi) + " are made",
		"install the CRDs and the controller of https://github.com/kubernetes-csi/external-snapshotter; a VolumeSnapshotClass is not needed for a restore"}}, nil
}

func drivers(n Needs, c Cluster) (problems []Problem, notes []string) {
	if !c.saw(SeeDrivers) {
		return nil, nil
	}
	for _, driver := range n.drivers() {
		if slices.Contains(c.Drivers, driver) {
			continue
		}
		nodes := n.of(func(v Volume) bool { return v.Driver == driver })
		there := "none"
		if len(c.Drivers) > 0 {
			there = join(c.Drivers)
		}
		problems = append(problems, Problem{fmt.Sprintf("CSI driver %s, which serves the volumes of %s, is not installed here (there is: %s)", driver, join(nodes), there),
			"install it, with access to the storage that holds the snapshots: another driver cannot read them"})
	}
	return problems, notes
}

func classes(n Needs, c Cluster) (problems []Problem, notes []string) {
	if !c.saw(SeeClasses) {
		return nil, nil
	}
	told := map[string]bool{}
	for _, v := range n.Volumes {
		if v.EBS && !v.Remapped || told[v.Class] {
			continue // volumes made by EC2 itself need no class
		}
		told[v.Class] = true
		nodes := join(n.of(func(o Volume) bool { return o.Class == v.Class && (!o.EBS || o.Remapped) }))
		fit := c.fitting(v.Driver)
		next := "choose one with --storage-class: " + fit
		class, found := c.class(v.Class)
		if !found && v.Files && !v.Remapped {
			class, found = c.class("") // any class will do
		}
		switch {
		case !found && v.Class == "":
			problems = append(problems, Problem{"the volumes of " + nodes + " name no storage class, and this cluster has no default", next})
		case !found:
			problems = append(problems, Problem{fmt.Sprintf("storage class %s of %s does not exist here", v.Class, nodes), next})
		case v.Driver != "" && class.Driver != v.Driver:
			problems = append(problems, Problem{fmt.Sprintf("storage class %s is of %s, and the snapshots of %s are of %s", class.Name, class.Driver, nodes, v.Driver), next})
		case n.Zone != "" && len(class.Zones) > 0 && !slices.Contains(class.Zones, n.Zone):
			problems = append(problems, Problem{fmt.Sprintf("storage class %s makes volumes in zones %s alone, not in %s", class.Name, join(class.Zones), n.Zone), "choose another with --storage-class, or another --zone"})
		}
	}
	return problems, notes
}

// class gives one by its name, "" is the default.
func (c Cluster) class(name string) (Class, bool) {
	for _, class := range c.Classes {
		if class.Name == name || name == "" && class.Default {
			return class, true
		}
	}
	return Class{}, false
}

// fitting names the classes of a driver.
func (c Cluster) fitting(driver string) string {
	var names []string
	for _, class := range c.Classes {
		if driver == "" || class.Driver == driver {
			names = append(names, class.Name)
		}
	}
	if len(names) == 0 {
		return "there is none of driver " + driver + ", make one first"
	}
	slices.Sort(names)
	return join(names)
}

// zones: a volume can be where a pod can run, and nowhere else.
func zones(n Needs, c Cluster) ([]Problem, []string) {
	if !c.saw(SeeNodes) {
		return nil, nil
	}
	var open, all []string
	usable := 0
	for i := range c.Nodes {
		node := &c.Nodes[i]
		zone := node.Labels[corev1.LabelTopologyZone]
		all = appendNew(all, zone)
		if schedulable(node) && selected(node, n.Selector) {
			usable++
			open = appendNew(open, zone)
		}
	}
	switch {
	case usable == 0 && len(n.Selector) > 0:
		return []Problem{{"no node that pods can run on has the labels of --node-selector", "see `kubectl get nodes --show-labels`, and choose others"}}, nil
	case usable == 0:
		return []Problem{{"no node of this cluster is ready and takes pods", "see `kubectl get nodes`; uncordon or add nodes"}}, nil
	case n.Zone == "" || slices.Contains(open, n.Zone):
		return nil, nil
	case slices.Contains(all, n.Zone):
		return []Problem{{"zone " + n.Zone + " has no node that is ready and takes pods", "add one there, or choose another with --zone: " + join(open)}}, nil
	case len(open) == 0:
		return []Problem{{"the nodes of this cluster tell no zone, so that none is in " + n.Zone, "leave --zone out, or label the nodes with " + corev1.LabelTopologyZone}}, nil
	}
	return []Problem{{"no node of this cluster is in zone " + n.Zone, "choose another with --zone: " + join(open)}}, nil
}

func appendNew(all []string, s string) []string {
	if s == "" || slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

func schedulable(node *corev1.Node) bool {
	if node.Spec.Unschedulable {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func selected(node *corev1.Node, selector map[string]string) bool {
	for k, v := range selector {
		if have, ok := node.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// capacity is judged where the driver tells it. Thin pools promise more than they
// have, so that what is left in all is only a note.
func capacity(n Needs, c Cluster) (problems []Problem, notes []string) {
	need, largest := map[string]int64{}, map[string]Volume{}
	for _, v := range n.Volumes {
		class, found := c.class(v.Class)
		if !found || v.EBS && !v.Remapped {
			continue
		}
		need[class.Name] += v.Bytes
		if v.Bytes > largest[class.Name].Bytes {
			largest[class.Name] = v
		}
	}
	for _, name := range sorted(need) {
		var most, left int64
		told, total := false, true
		for _, free := range c.Capacities {
			if free.Class != name {
				continue
			}
			told, total = true, total && free.Left > 0
			most, left = max(most, cmp.Or(free.Most, free.Left)), left+free.Left
		}
		switch v := largest[name]; {
		case !told:
		case v.Bytes > most:
			problems = append(problems, Problem{fmt.Sprintf("the volume of %s needs %s, and storage class %s can make none larger than %s", v.Node, size(v.Bytes), name, size(most)), "make room in the storage, or choose another class with --storage-class"})
		case total && need[name] > left:
			notes = append(notes, fmt.Sprintf("the volumes need %s in all, and the driver of storage class %s says that %s are left", size(need[name]), name, size(left)))
		}
	}
	return problems, notes
}

func target(n Needs, c Cluster) ([]Problem, []string) {
	switch {
	case n.Running: // the controller compares it with the backup
	case c.Ending:
		return []Problem{{"namespace " + n.Namespace + " is being deleted", "wait until it is gone (`kubectl wait --for=delete ns/" + n.Namespace + "`), or choose another with --to"}}, nil
	case c.Missing && !n.Create:
		return []Problem{{"namespace " + n.Namespace + " does not exist", "create it, or leave --create-namespace at true"}}, nil
	case c.Held != "":
		return []Problem{{"namespace " + n.Namespace + " holds a CHT already (" + c.Held + ")", "choose an empty one with --to"}}, nil
	}
	return nil, nil
}

func rights(_ Needs, c Cluster) (problems []Problem, notes []string) {
	for _, r := range c.Denied {
		what := r.Resource
		if r.Group != "" {
			what += "." + r.Group
		}
		where := ""
		if r.Namespace != "" {
			where = " in namespace " + r.Namespace
		}
		problems = append(problems, Problem{fmt.Sprintf("you may not %s %s%s, %s", r.Verb, what, where, r.For), "ask whoever administers the cluster for that right, or to run this command"})
	}
	return problems, notes
}

func size(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

func sorted(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func join(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, ", ")
}
