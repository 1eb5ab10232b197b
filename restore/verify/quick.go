package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// shards looks for every shard's file on the node that its map names.
func (r *run) shards(ctx context.Context) error {
	files, services := map[string]map[string]bool{}, map[string]string{}
	for i, name := range r.Names {
		services[name], files[name] = r.Services[i], map[string]bool{}
		finding, err := r.insist(ctx, patience, func() error {
			list, err := r.Clients[0].LocalDatabases(ctx, name)
			for _, file := range list {
				files[name][file] = true
			}
			return err
		})
		if err != nil {
			return err
		}
		if finding != nil {
			r.problem("the shards of %s cannot be listed: %s", r.Services[i], finding)
			return nil
		}
	}
	found := int32(0)
	for _, m := range r.Maps {
		for _, node := range slices.Sorted(maps.Keys(m.ByNode)) {
			for _, shardRange := range m.ByNode[node] {
				if files[node][m.ShardFile(shardRange)] {
					found++
					continue
				}
				name := services[node]
				if name == "" {
					name = node
				}
				r.problem("node %s lacks shard %s", name, m.ShardFile(shardRange))
			}
		}
	}
	r.count(func(v *api.Verification) { v.Shards = found })
	return nil
}

// errFewer says that not all databases answered.
var errFewer = errors.New("not all databases answer")

// counts asks every node for the counts of every database.
func (r *run) counts(ctx context.Context) error {
	for i, client := range r.Clients {
		var infos map[string]couchdb.Info
		looks := 0
		finding, err := r.insist(ctx, patience, func() (err error) {
			if infos, err = client.Infos(ctx, r.names); err != nil {
				return err
			}
			// Fresh maps may take a moment; after that a missing answer is a finding.
			if looks++; len(infos) < len(r.names) && looks < patience {
				return errFewer
			}
			return nil
		})
		if err != nil {
			return err
		}
		if finding != nil {
			r.problem("%s does not count its documents: %s", r.Services[i], finding)
			continue
		}
		counts := make(map[string]couchdb.Counts, len(infos))
		total := int64(0)
		for name, info := range infos {
			counts[name] = info.Counts
			r.totals[name] = info.Documents + info.Deleted
			total += r.totals[name]
		}
		documents, problems := compareCounts(r.Record, counts, r.names)
		problems = append(problems, compareSequences(r.Record, r.Maps, infos)...)
		r.meter.total.Store(total)
		r.count(func(v *api.Verification) { v.Documents = documents })
		for _, p := range problems {
			r.problem("through %s: %s", r.Services[i], p)
		}
	}
	return nil
}

// compareCounts says which databases hold fewer or more documents than the
// record allows: what was counted before the cut must be there, what came after
// it cannot. CouchDB itself writes into its own databases when it starts, so
// those have no upper bound.
func compareCounts(record catalog.Record, restored map[string]couchdb.Counts, databases []string) (documents int64, problems []string) {
	for _, name := range databases {
		got, ok := restored[name]
		if !ok {
			problems = append(problems, fmt.Sprintf("database %s does not answer", name))
			continue
		}
		documents += got.Documents
		total := got.Documents + got.Deleted
		if least, ok := record.Before.Counts[name]; ok && total < least.Documents+least.Deleted {
			problems = append(problems, fmt.Sprintf("database %s has %d documents (deleted ones included), at least %d were recorded", name, total, least.Documents+least.Deleted))
		}
		if most, ok := record.After.Counts[name]; ok && name[0] != '_' && total > most.Documents+most.Deleted {
			problems = append(problems, fmt.Sprintf("database %s has %d documents (deleted ones included), at most %d were recorded", name, total, most.Documents+most.Deleted))
		}
	}
	return documents, problems
}

// compareSequences says which databases are at an earlier or later change than the
// record allows. A file that lost its end, and with it only new revisions of
// documents that it has, counts right.
func compareSequences(record catalog.Record, maps []couchdb.ShardMap, restored map[string]couchdb.Info) (problems []string) {
	for _, m := range maps {
		info, answered := restored[m.ID]
		got, ok := info.Sequence()
		if !answered || !ok || !counted(record, m) {
			continue
		}
		if least, ok := record.Before.Sequences[m.ID]; ok && got < least {
			problems = append(problems, fmt.Sprintf("database %s is at change %d, the backup was at %d or later: the latest revisions of documents are missing", m.ID, got, least))
		}
		if most, ok := record.After.Sequences[m.ID]; ok && m.ID[0] != '_' && got > most {
			problems = append(problems, fmt.Sprintf("database %s is at change %d, the backup was at %d or earlier", m.ID, got, most))
		}
	}
	return problems
}

// counted tells whether the record's sequences speak of that very database: one that
// was deleted and made again while the backup was taken begins anew, and where a
// shard has several copies any of them may have been asked.
func counted(record catalog.Record, m couchdb.ShardMap) bool {
	for _, nodes := range m.ByRange {
		if len(nodes) != 1 {
			return false
		}
	}
	for _, survey := range []catalog.Survey{record.Before, record.After} {
		if old, ok := survey.ShardMaps[m.ID]; ok && !slices.Equal(old.Suffix, m.Suffix) {
			return false
		}
	}
	return true
}
