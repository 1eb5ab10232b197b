package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fill "github.com/medic/cht-backup/restore/compose"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/compose"
	"github.com/medic/cht-backup/snapshot/compose/engine"
	"github.com/medic/cht-backup/snapshot/compose/project"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
)

// composeSource says which backup is meant.
type composeSource struct {
	from, asOf, identity string
}

func (s *composeSource) add(flags *pflag.FlagSet) {
	flags.StringVar(&s.from, "from", "", "the backup: `NAME`, or URL/NAME.compose[/NAME] (default: the newest of the instance in --catalog)")
	flags.StringVar(&s.asOf, "as-of", "", "the newest that was cut at or before this `TIME` (RFC 3339)")
	flags.StringVarP(&s.identity, "identity", "i", "", "`FILE` with the age identity that opens what is sealed")
}

func (s *composeSource) identities() ([]age.Identity, error) {
	if s.identity == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.identity)
	if err != nil {
		return nil, fmt.Errorf("--identity: %w", err)
	}
	defer clear(text)
	found, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil { // age repeats parts of a line that it does not know
		return nil, fmt.Errorf("--identity %s holds no age identity (a line AGE-SECRET-KEY-1…)", s.identity)
	}
	return found, nil
}

// open finds the record that is meant, with what is sealed in it where that can be opened.
func (s *composeSource) open(ctx context.Context, f *composeFlags) (b *bucket.Bucket, r catalog.Record, identities []age.Identity, err error) {
	if identities, err = s.identities(); err != nil {
		return nil, r, nil, err
	}
	var scope bucket.Scope
	if strings.Contains(s.from, "://") {
		b, scope, err = bucket.Find(ctx, s.from)
	} else if err = f.needCatalog(); err == nil {
		b, scope, err = bucket.Find(ctx, f.catalog)
		scope.Name = cmp.Or(s.from, scope.Name)
	}
	if err != nil {
		return nil, r, nil, err
	}
	defer func() {
		if err != nil {
			_ = b.Close()
		}
	}()
	if scope.Namespace == "" {
		instance := f.instance
		if instance == "" {
			p, err := project.Load(f.dir, project.Options{Name: f.name, EnvFile: f.envFile})
			if err != nil {
				return b, r, nil, fmt.Errorf("which instance is meant is not known: give --from %s/NAME.compose, or --instance: %w", b.URL(), err)
			}
			instance = p.Name
		}
		if scope.Namespace, err = catalog.ComposeNamespace(instance); err != nil {
			return b, r, nil, err
		}
	}
	h, err := s.choose(ctx, b, scope)
	if err != nil {
		return b, r, nil, err
	}
	m, r, err := b.Record(ctx, h)
	if err != nil {
		return b, r, nil, err
	}
	if r.Compose == nil {
		return b, r, nil, fmt.Errorf("backup %s/%s is of an instance on Kubernetes; restore it there: kubectl cht restore --from %s/%s/%s", r.Namespace, r.Name, b.URL(), r.Namespace, r.Name)
	}
	if len(identities) == 0 || m.Secrets.State != api.SecretsSealed {
		return b, r, identities, nil
	}
	secrets, err := b.Secrets(ctx, m, identities...)
	if err != nil {
		return b, r, nil, err
	}
	r, err = secrets.Into(r)
	return b, r, identities, err
}

// choose takes the newest of those that are meant.
func (s *composeSource) choose(ctx context.Context, b *bucket.Bucket, scope bucket.Scope) (bucket.Head, error) {
	var until time.Time
	if s.asOf != "" {
		var err error
		if until, err = time.Parse(time.RFC3339, s.asOf); err != nil {
			return bucket.Head{}, fmt.Errorf("--as-of %q is no time such as 2026-03-01T12:00:00Z", s.asOf)
		}
	}
	var heads []bucket.Head
	_, err := b.Heads(ctx, scope.Namespace, func(h bucket.Head) error {
		if (scope.Name == "" || h.Name == scope.Name) && (until.IsZero() || !h.CutTime.After(until)) {
			heads = append(heads, h)
		}
		return nil
	})
	if err != nil {
		return bucket.Head{}, err
	}
	if len(heads) == 0 {
		return bucket.Head{}, fmt.Errorf("%s has no such backup of %s; see what there is: cht-backup compose list --catalog %s", b.URL(), scope.Namespace, b.URL())
	}
	return heads[len(heads)-1], nil // they come in the order of their cuts
}

// repository opens the one with the record's files: by an identity, or by the key that
// this machine keeps.
func openRepository(ctx context.Context, b *bucket.Bucket, r catalog.Record, identities []age.Identity, state string) (*repo.Repository, error) {
	id := r.Nodes[0].File.Repository
	key, err := compose.KeyOf(state, b.URL(), id)
	if err != nil {
		if len(identities) == 0 {
			return nil, fmt.Errorf("the key of repository %s is not on this machine (%w); give the identity that opens it with --identity", id, err)
		}
		if key, err = repo.UnsealKey(ctx, b.Objects(), id, identities...); err != nil {
			return nil, err
		}
	}
	return repo.Open(ctx, b.Objects(), id, key, repo.Options{})
}

// composeRestore is `compose restore`.
type composeRestore struct {
	composeFlags
	source        composeSource
	force         bool
	datas, locals []string
}

func composeRestoreCommand() *cobra.Command {
	f := &composeRestore{}
	command := &cobra.Command{
		Use: "restore --project DIR --from URL/NAME.compose[/NAME] --identity FILE", Short: "Fill empty data directories from a backup, and write the project's files where they lack", Args: cobra.NoArgs,
		Long: `Fill empty data directories from a backup, and write the project's compose files and .env
where they lack. The CHT must not run. A directory that holds something is refused; with
--force it is set aside under another name, and nothing is deleted. A restore that was
interrupted goes on when it is called again.

Then start the CHT, and compare it with the backup: cht-backup compose verify.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fromFile(cmd.Flags()); err != nil {
				return err
			}
			return f.run(cmd.Context())
		},
	}
	f.add(command.Flags())
	f.source.add(command.Flags())
	command.Flags().BoolVar(&f.force, "force", false, "set aside what is in the data directories")
	command.Flags().StringArrayVar(&f.datas, "data", nil, "`SERVICE=DIR` of a node's data (default: as the compose files say); repeatable")
	command.Flags().StringArrayVar(&f.locals, "local-d", nil, "`SERVICE=DIR` of a node's local.d (default: as the compose files say); repeatable")
	return command
}

func (f *composeRestore) run(ctx context.Context) (err error) {
	b, r, identities, err := f.source.open(ctx, &f.composeFlags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	say("backup %s/%s, cut %s on %s", r.Namespace, r.Name, r.CutTime.UTC().Format(time.RFC3339), r.Compose.Host)
	repository, err := openRepository(ctx, b, r, identities, f.place(r.Namespace))
	if err != nil {
		return err
	}
	p, err := f.files(r)
	if err != nil {
		return err
	}
	targets, err := f.targets(ctx, p, r)
	if err != nil {
		return err
	}
	aside, err := fill.Ready(targets, f.force, time.Now())
	for _, dir := range aside {
		say("set aside: %s", dir)
	}
	if err != nil {
		return err
	}
	for i, n := range r.Nodes {
		begun, told := time.Now(), time.Now()
		progress := func(p transfer.Progress) {
			if time.Since(told) > 5*time.Second {
				told = time.Now()
				say("%s: %s", n.Service, p.Text(0, time.Since(begun)))
			}
		}
		t, err := fill.Fill(ctx, repository, n, targets[i], progress)
		if err != nil {
			return fmt.Errorf("%w. What is filled stays; call this again, and it goes on", err)
		}
		say("%s: %d files, %d bytes in %s", n.Service, len(t.Files), t.Size(), targets[i].Data)
		if targets[i].Config == "" {
			say("%s: no volume keeps its local.d: CouchDB makes it anew from its environment", n.Service)
		}
	}
	say("filled. Start the CHT, then compare: cht-backup compose verify --project %s --from %s/%s/%s", p.Dir, b.URL(), r.Namespace, r.Name)
	return nil
}

// files writes the project's files, and reads the project.
func (f *composeRestore) files(r catalog.Record) (project.Project, error) {
	recorded, err := project.Recorded(r, catalog.ComposeFilesSecret)
	if err != nil {
		// Without them the project must be there.
		p, missing := project.Load(f.dir, project.Options{Name: f.name, EnvFile: f.envFile})
		if missing != nil {
			return p, errors.Join(err, missing)
		}
		say("%v. The project in %s is taken as it is", err, p.Dir)
		return p, nil
	}
	written, differing, err := fill.Write(f.dir, recorded)
	for _, path := range written {
		say("written: %s", path)
	}
	for _, path := range differing {
		say("left as it is, though the backup's differs: %s", path)
	}
	if err != nil {
		return project.Project{}, err
	}
	if certificates, err := project.Recorded(r, catalog.ComposeCertificatesSecret); err == nil && len(certificates) > 0 {
		dir := filepath.Join(f.dir, "certificates")
		if _, _, err := fill.Write(dir, certificates); err != nil {
			return project.Project{}, err
		}
		say("nginx's certificate and key are in %s; put them where nginx looks for them", dir)
	}
	return project.Load(f.dir, project.Options{Name: cmp.Or(f.name, r.Compose.Project), EnvFile: f.envFile})
}

// targets are where each node's files go.
func (f *composeRestore) targets(ctx context.Context, p project.Project, r catalog.Record) ([]fill.Target, error) {
	datas, err := pairs("--data", f.datas)
	if err != nil {
		return nil, err
	}
	locals, err := pairs("--local-d", f.locals)
	if err != nil {
		return nil, err
	}
	var e *engine.Client
	volume := func(m project.Mount) (string, error) {
		if !m.Named {
			return m.Source, nil
		}
		if e == nil {
			if e, err = engine.Find(f.engine); err != nil {
				return "", fmt.Errorf("volume %s: %w; name its directory with --data or --local-d", m.Source, err)
			}
		}
		key := m.Source
		for k, name := range p.Volumes {
			if name == m.Source {
				key = k
			}
		}
		return e.MakeVolume(ctx, p.Name, key, m.Source)
	}
	var targets []fill.Target
	for i, n := range r.Nodes {
		service := r.Compose.Nodes[i].Service
		t := fill.Target{Node: n.Service, Data: datas[service], Config: locals[service]}
		if m, there := p.Services[service].At(cht.DataMount); t.Data == "" && there {
			if t.Data, err = volume(m); err != nil {
				return nil, err
			}
		}
		if m, there := p.Services[service].At(cht.ConfigMount); t.Config == "" && there {
			if t.Config, err = volume(m); err != nil {
				return nil, err
			}
		}
		if t.Data == "" {
			return nil, fmt.Errorf("the compose files in %s do not say where service %s has its data; give --data %s=DIR", p.Dir, service, service)
		}
		if slices.ContainsFunc(targets, func(o fill.Target) bool { return o.Data == t.Data }) {
			return nil, fmt.Errorf("%s would get the data of two nodes; give each service its own with --data SERVICE=DIR", t.Data)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func pairs(flag string, all []string) (map[string]string, error) {
	m := map[string]string{}
	for _, text := range all {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" || v == "" {
			return nil, fmt.Errorf("%s %q is not of the form SERVICE=DIR", flag, text)
		}
		m[k] = v
	}
	return m, nil
}
