package command

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/served"
)

// DefaultSystemNamespace is where cht-backup is by custom, if it serves a whole cluster.
const DefaultSystemNamespace = "cht-backup-system"

const systemFlag = "system-namespace"

// systemNamespace is the flag's value, which knows that it was given.
type systemNamespace struct{ e *Env }

func (s *systemNamespace) String() string {
	if s.e == nil { // asked by pflag for the default of any value
		return ""
	}
	return s.e.SystemNamespace
}

func (s *systemNamespace) Set(name string) error {
	s.e.SystemNamespace, s.e.systemGiven = name, true
	return nil
}

func (s *systemNamespace) Type() string { return "string" }

// controller is one of the cluster's, as far as it can be seen.
type controller struct {
	namespace string
	// serves are the namespaces it serves; none is all, if known.
	serves []string
	known  bool
}

// locate finds the controller that serves a namespace, and with it where records are
// written, unless --system-namespace names it: a cluster may have several. Where nothing
// can be found out it stays with the default; what follows says which namespace was asked.
func (e *Env) locate(ctx context.Context, c client.Client, namespace string) {
	if e.systemGiven {
		return
	}
	e.SystemNamespace = e.systems(ctx, c, namespace, false)[0]
}

// locateRecords is locate for what only a record is left of: it may be with a
// controller that served the namespace before.
func (e *Env) locateRecords(ctx context.Context, c client.Client, namespace string) {
	if e.systemGiven {
		return
	}
	all := e.systems(ctx, c, namespace, true)
	for _, one := range all {
		e.SystemNamespace = one
		if heads, err := e.records(c).List(ctx, namespace); err == nil && len(heads) > 0 {
			return
		}
	}
	e.SystemNamespace = all[0]
}

// kept are the records of a namespace's backups, or of all for "", wherever a
// controller keeps some. What may not be listed is passed over while anything may be.
func (e *Env) kept(ctx context.Context, c client.Client, namespace string) (all []catalog.Head, err error) {
	if namespace != "" {
		e.locateRecords(ctx, c, namespace)
		return e.records(c).List(ctx, namespace)
	}
	var failed error
	read := false
	for _, system := range e.systems(ctx, c, "", true) {
		some, err := catalog.Store{Client: c, Namespace: system}.List(ctx, "")
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		read = true
		all = append(all, some...)
	}
	if read && apierrors.IsForbidden(failed) {
		failed = nil
	}
	return all, failed
}

// askWithin bounds questions that can be done without.
const askWithin = 5 * time.Second

// systems are the namespaces of controllers, likeliest first for a namespace that is
// served; all of them for "". There is at least one: the default.
//
// Whoever may write Leases in a namespace can name any other there. So one counts only
// for a controller that an administrator of the cluster has installed; and where nobody
// can be asked who those are, only for what reads.
func (e *Env) systems(ctx context.Context, c client.Client, namespace string, reads bool) []string {
	if e.systemGiven {
		return []string{e.SystemNamespace}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	installed, err := controllers(ctx, c)
	holder := ""
	if namespace != "" && (err == nil || reads) {
		holder = holderOf(ctx, c, namespace)
	}
	if err == nil && !slices.ContainsFunc(installed, func(o controller) bool { return o.namespace == holder }) {
		holder = ""
	}
	return rank(namespace, holder, installed, DefaultSystemNamespace)
}

// holderOf is the namespace of who says by its Lease that it serves this one, or "".
func holderOf(ctx context.Context, c client.Client, namespace string) string {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: served.LeaseName}, &lease); err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	system, name, found := strings.Cut(*lease.Spec.HolderIdentity, "/")
	if !found || name == "" || len(validation.IsDNS1123Label(system)) > 0 {
		return ""
	}
	return system
}

// rank puts first who holds the namespace's Lease, then who is set to serve it, who
// serves all, whoever else there is, and the default.
func rank(namespace, holder string, all []controller, byCustom string) []string {
	order := func(o controller) int {
		switch {
		case slices.Contains(o.serves, namespace):
			return 0
		case o.known && len(o.serves) == 0:
			return 1
		case !o.known:
			return 2
		}
		return 3
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b controller) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), strings.Compare(a.namespace, b.namespace))
	})
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(holder)
	for _, o := range all {
		add(o.namespace)
	}
	add(byCustom)
	return names
}

// controllers finds those of the cluster by what gives them their rights there, which
// only an administrator of the cluster can write: a Deployment of that name anybody may
// make. An error says that one may not look.
func controllers(ctx context.Context, c client.Client) ([]controller, error) {
	var bindings rbacv1.ClusterRoleBindingList
	if err := paged.All(ctx, c, &bindings, client.MatchingLabels{"app.kubernetes.io/name": "cht-backup"}); err != nil {
		return nil, err
	}
	var all []controller
	for _, b := range bindings.Items {
		for _, s := range b.Subjects {
			if s.Kind != rbacv1.ServiceAccountKind || slices.ContainsFunc(all, func(o controller) bool { return o.namespace == s.Namespace }) {
				continue
			}
			o := controller{namespace: s.Namespace}
			var maps corev1.ConfigMapList
			if err := paged.All(ctx, c, &maps, client.InNamespace(s.Namespace), client.MatchingLabels{checkup.Label: "true"}); err == nil && len(maps.Items) > 0 {
				if r, err := checkup.Read(&maps.Items[0]); err == nil {
					o.serves, o.known = r.Namespaces, true
				}
			}
			all = append(all, o)
		}
	}
	return all, nil
}
