package restore

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

var errLater = reason.Refuse(api.ReasonRemapInvalid, "not yet")

func (r *Reconciler) preflightDatabase(context.Context, *work) error { return errLater }
func (r *Reconciler) scratch(context.Context, *work) error           { return errLater }
func (r *Reconciler) replicating(context.Context, *work) error       { return errLater }
func (r *Reconciler) replacing(context.Context, *work) error         { return errLater }
func planScratch(*work) []string                                     { return nil }
func planReplicating(*work) []string                                 { return nil }
func planReplacing(*work) []string                                   { return nil }
