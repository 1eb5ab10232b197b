package compose

import (
	"context"
	"slices"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/survey"
)

// stuck is how long nothing may move before a verification is given up.
const stuck = 5 * time.Minute

// Verify compares a CouchDB that runs with a record that it was restored from, before
// anybody writes to it.
func Verify(ctx context.Context, asked survey.Instance, r catalog.Record, level api.VerificationLevel, report func(string)) (api.Verification, error) {
	found, err := survey.Join(ctx, asked)
	if err != nil {
		return api.Verification{}, err
	}
	maps, err := found.First.ShardMaps(ctx, "_local")
	if err != nil {
		return api.Verification{}, err
	}
	job := verify.Job{Cluster: verify.Cluster{Names: found.Names}, Record: r, Level: level, Stuck: stuck, Report: func(_ api.Verification, doing string) { report(doing) }}
	for _, n := range asked.Nodes {
		job.Services = append(job.Services, n.Service)
		job.Clients = append(job.Clients, couchdb.New(n.URL, asked.User, asked.Password, n.Transport))
	}
	var lacking []string
	for name := range r.Before.ShardMaps {
		m, there := maps[name]
		if _, still := r.After.ShardMaps[name]; !there && still {
			lacking = append(lacking, name)
		}
		if there {
			job.Maps = append(job.Maps, m)
		}
	}
	slices.Sort(lacking)
	v, err := job.Run(ctx)
	if err != nil || len(lacking) == 0 {
		return v, err
	}
	for _, name := range lacking {
		v.Problems = append(v.Problems, "database "+name+" is not there")
	}
	return v, verify.Judge(&v, len(v.Problems))
}
