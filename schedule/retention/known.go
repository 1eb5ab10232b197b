package retention

import (
	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Known makes a plan's input for one schedule out of the backups of its namespace,
// whosever they are, and of the restores there are, in whatever namespace.
func Known(schedule string, backups []api.Backup, restores []api.Restore) []Backup {
	type key struct{ namespace, name string }
	needed := map[key]*api.Restore{}
	for i := range restores {
		if r := &restores[i]; underWay(r) {
			needed[key{r.Spec.Source.Namespace, r.Spec.Source.Name}] = r
		}
	}
	var known []Backup
	for i := range backups {
		b := &backups[i]
		if b.IsImported() {
			continue // nothing that a schedule takes or removes
		}
		is := Of(b)
		switch of := b.Labels[api.ScheduleLabel]; of {
		case schedule:
		case "":
			is.Foreign = "manual"
		default:
			is.Foreign = "of schedule " + of
		}
		// Whatever UID the restore names: rather kept too long.
		if r := needed[key{b.Namespace, b.Name}]; r != nil {
			is.InUse = "restore " + r.Namespace + "/" + r.Name
		}
		known = append(known, is)
	}
	return known
}

// underWay tells whether a restore may still read its backup.
func underWay(r *api.Restore) bool {
	switch r.Status.Phase {
	case api.PhaseCompleted, api.PhaseFailed, api.PhaseExpired:
		return false
	default:
		return true
	}
}
