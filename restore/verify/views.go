package verify

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// builders are the databases whose views are asked at a time.
const builders = 3

// views asks every view for a row. CouchDB brings its index up to date first,
// which may take hours: as long as it moves it is waited for.
func (r *run) views(ctx context.Context) error {
	r.meter.views.Store(true)
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(builders)
	for i, name := range r.names {
		work.Go(func() error { return r.viewsOf(within, i%len(r.Clients), name) })
	}
	return work.Wait()
}

func (r *run) viewsOf(ctx context.Context, node int, database string) error {
	var views []couchdb.View
	var others []string
	finding, err := r.insist(ctx, patience, func() (err error) {
		views, others, err = r.Clients[node].Views(ctx, database)
		return err
	})
	if err != nil {
		return err
	}
	if finding != nil {
		r.problem("the design documents of database %s cannot be read: %s", database, finding)
		return nil
	}
	for _, design := range others {
		r.note("design document %s of database %s has an index that is no view (Mango, Nouveau): it was not asked", design, database)
	}
	for i, view := range views {
		r.say(fmt.Sprintf("asking view %s/%s of database %s, %d of %d", view.Design, view.Name, database, i+1, len(views)))
		finding, err := r.insist(ctx, patience, func() error { return r.Clients[node].Ask(ctx, database, view) })
		if err != nil {
			return err
		}
		var said *couchdb.StatusError
		switch {
		case finding == nil:
			r.count(func(v *api.Verification) { v.Views++ })
		case errors.As(finding, &said) && said.Code == "compilation_error":
			// Its source is in the document, whose revision is the backup's.
			r.note("view %s/%s of database %s does not compile; it is the same in the instance that was backed up: %s", view.Design, view.Name, database, said.Reason)
		default:
			r.problem("view %s/%s of database %s does not answer: %s", view.Design, view.Name, database, finding)
		}
	}
	return nil
}
