package repo

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

var (
	histories = flag.Int("histories", 400, "of the repository's model test; 10000 take some minutes")
	history   = flag.Uint64("history", 0, "the only one to run, and to tell of, by its seed")
)

// model is what must be true of a repository: what is kept, and its content.
type model struct {
	t    *testing.T
	seed uint64
	sim  *sim
	key  Key
	// bare reads the store past the schedule.
	bare *memory
	own  *Repository
	// kept trees, and what is in them; deleted are those somebody began to delete.
	kept    map[string]files
	deleted map[string]bool
	// needs are the packs of all trees that are there.
	needs map[string][]string
	// parts that all files are made of.
	parts  [][]byte
	failed bool
}

func (m *model) fail(format string, args ...any) {
	if m.failed {
		return
	}
	m.failed = true
	told := m.sim.log
	if *history == 0 {
		told = told[max(0, len(told)-60):]
	}
	m.t.Errorf("history %d: %s\n%s", m.seed, fmt.Sprintf(format, args...), strings.Join(told, "\n"))
}

// onPut: a tree that comes to be there has all its packs.
func (m *model) onPut(key string) {
	name, ok := strings.CutPrefix(key, m.own.at(treesIn, ""))
	if !ok {
		return
	}
	h, err := m.own.head(m.t.Context(), name)
	if err != nil {
		m.fail("tree %s cannot be read: %v", name, err)
		return
	}
	for _, p := range h.Packs {
		if _, there := m.sim.objects[m.own.at(packsIn, p.Name)]; !there {
			m.fail("tree %s comes to be there and needs pack %s, which is not", name, p.Name)
		}
		m.needs[name] = append(m.needs[name], p.Name)
	}
}

// onDelete: nothing goes that a tree needs.
func (m *model) onDelete(key string) {
	if name, ok := strings.CutPrefix(key, m.own.at(treesIn, "")); ok {
		if m.kept[name] != nil {
			m.fail("tree %s is kept, and was deleted", name)
		}
		delete(m.needs, name)
	}
	if pack, ok := strings.CutPrefix(key, m.own.at(packsIn, "")); ok {
		for name, packs := range m.needs {
			if slices.Contains(packs, pack) {
				m.fail("tree %s needs pack %s, which was deleted", name, pack)
			}
		}
	}
}

// file of some parts.
func (m *model) file() (pieces [][]byte) {
	for range m.sim.random.IntN(5) {
		pieces = append(pieces, m.parts[m.sim.random.IntN(len(m.parts))])
	}
	return pieces
}

func (m *model) choose() files {
	f := files{}
	for i := range m.sim.random.IntN(3) + 1 {
		f["data/"+strconv.Itoa(i)+".couch"] = m.file()
	}
	return f
}

func (m *model) open(a *actor) (*Repository, error) {
	skew := time.Duration(m.sim.random.IntN(600)-300) * time.Second
	return Open(m.t.Context(), a, testID, m.key, Options{PackSize: 900, Budget: 3600, Parallel: 1 + m.sim.random.IntN(2), Unsealed: true,
		Now: func() time.Time { return time.Now().Add(skew) }})
}

// backUp is one backup of one or two nodes.
func (m *model) backUp(a *actor, owner string) {
	r, err := m.open(a)
	if err != nil {
		return
	}
	var bases []string
	for name := range m.kept {
		bases = append(bases, name)
	}
	slices.Sort(bases)
	if len(bases) > 2 {
		bases = bases[len(bases)-2:]
	}
	nodes := []string{"n1", "n2"}[:1+m.sim.random.IntN(2)]
	ctx := m.t.Context()
	s, err := r.Begin(ctx, owner, nodes, bases)
	if err != nil {
		return
	}
	defer func() { _ = s.Close(ctx) }()
	for _, node := range nodes {
		f := m.choose()
		t := tree.Tree{Node: node}
		for i := range 3 {
			path := "data/" + strconv.Itoa(i) + ".couch"
			pieces, ok := f[path]
			if !ok {
				continue
			}
			file, err := m.copy(s, node, path, pieces)
			if err != nil {
				return
			}
			t.Files = append(t.Files, file)
		}
		name, err := s.Commit(ctx, t)
		if err != nil {
			return
		}
		if !m.deleted[name] { // before its writer knew that it is there
			m.kept[name] = f
		}
	}
}

// copy is what transfer does with a file.
func (m *model) copy(s *Session, node, path string, pieces [][]byte) (tree.File, error) {
	file := tree.File{Meta: tree.Meta{Path: path}}
	for i, c := range s.Known(node, path) {
		if i >= len(pieces) || !m.key.hash.IDOf(pieces[i]).Is(c.ID) {
			break
		}
		file.Chunks = append(file.Chunks, c)
	}
	for _, plain := range pieces[len(file.Chunks):] {
		c, err := s.Put(m.t.Context(), frame(m.key.hash, plain))
		if err != nil {
			return file, err
		}
		file.Chunks = append(file.Chunks, c)
	}
	for _, c := range file.Chunks {
		file.Size += c.Length
	}
	return file, nil
}

// expire deletes one of the trees.
func (m *model) expire(a *actor) {
	r, err := m.open(a)
	if err != nil {
		return
	}
	trees, err := r.Trees(m.t.Context())
	if err != nil || len(trees) == 0 {
		return
	}
	name := trees[m.sim.random.IntN(len(trees))].Name
	delete(m.kept, name) // from now on nobody relies on it
	m.deleted[name] = true
	_ = r.DeleteTree(m.t.Context(), name)
}

func (m *model) collect(a *actor) {
	r, err := m.open(a)
	if err != nil {
		return
	}
	if _, err := r.Collect(m.t.Context()); err != nil && !errors.Is(err, errFault) && !errors.Is(err, errDead) {
		m.fail("collect: %v", err)
	}
}

// live lets somebody work for a while.
func (m *model) live(name string, what ...func(*actor)) {
	seeds := m.sim.random.IntN(4) + 1
	m.sim.begin(func() {
		for i := range seeds {
			a := &actor{sim: m.sim, name: name + "." + strconv.Itoa(i)}
			a.begin()
			what[i%len(what)](a)
		}
	})
}

// wholly reads all that is kept, and compares.
func (m *model) wholly() {
	for name, want := range m.kept {
		got, err := read(m.t.Context(), m.own, name)
		if err != nil {
			m.fail("tree %s: %v", name, err)
			continue
		}
		for path, pieces := range want {
			if len(pieces) == 0 {
				want[path] = nil
			}
		}
		if !reflect.DeepEqual(got, want) {
			m.fail("tree %s has another content", name)
		}
	}
}

// clean deletes all trees and sees all else go.
func (m *model) clean() {
	ctx := m.t.Context()
	m.sim.faults, m.sim.crashes = 0, 0
	step := func(what string, do func(r *Repository) error) {
		a := &actor{sim: m.sim, name: "last"}
		m.sim.begin(func() {
			r, err := m.open(a)
			if err == nil {
				err = do(r)
			}
			if err != nil {
				m.fail("%s: %v", what, err)
			}
		})
		if !m.sim.run() {
			m.fail("%s does not end", what)
		}
	}
	collect := func(r *Repository) error { _, err := r.Collect(ctx); return err }
	garbage := func(what string) {
		for range 3 { // find who died; find what nobody names; drop the lists
			time.Sleep(max(8*24*time.Hour, m.sim.lockedFor))
			m.sim.land()
			step("collect", collect)
		}
		named := map[string]bool{}
		for _, packs := range m.needs {
			for _, p := range packs {
				named[p] = true
			}
		}
		for key := range m.sim.objects {
			pack, ok := strings.CutPrefix(key, m.own.at(packsIn, ""))
			if ok && !named[pack] || strings.HasPrefix(key, m.own.at(writersIn, "")) || len(m.needs) == 0 && strings.HasPrefix(key, filesUnder) && !strings.Contains(key, clockIn) {
				m.fail("%s: object %s stays", what, key)
			}
		}
	}
	garbage("in the end")
	m.wholly()
	m.kept = map[string]files{}
	step("delete all", func(r *Repository) error {
		trees, err := r.Trees(ctx)
		for _, t := range trees {
			if err == nil {
				err = r.DeleteTree(ctx, t.Name)
			}
		}
		return err
	})
	garbage("without trees")
}

func (m *model) run() {
	s := m.sim
	m.own = &Repository{objects: m.bare, id: testID, key: m.key, options: Options{Unsealed: true}.complete()}
	m.own.ahead = newAhead(m.own.options)
	s.onPut, s.onDelete = func(string) {}, func(string) {}
	if err := Create(m.t.Context(), m.bare, testID, m.key); err != nil {
		m.t.Fatal(err)
	}
	s.onPut, s.onDelete = m.onPut, m.onDelete
	for i := range 1 + s.random.IntN(3) {
		owner := "w" + strconv.Itoa(i)
		m.live(owner, func(a *actor) { m.backUp(a, owner) })
	}
	for i := range 1 + s.random.IntN(2) {
		m.live("c"+strconv.Itoa(i), m.collect)
	}
	m.live("d", m.expire)
	m.live("e", m.expire, m.collect)
	if !s.run() {
		m.fail("it does not end")
		return
	}
	m.wholly()
	m.clean()
}

// Whatever fails, dies, comes late or goes on beside something else: no repository is
// unreadable, nothing goes that a tree needs, and garbage goes.
func TestModel(t *testing.T) {
	key := testKey(t)
	done := map[string]int{}
	one := func(seed uint64) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's
			s := &sim{random: random, done: done, objects: map[string]stored{}, skew: time.Duration(random.IntN(7200)-3600) * time.Second, page: 1 + random.IntN(6)}
			s.sticky = []int{0, 50, 90, 97}[random.IntN(4)]
			s.faults, s.crashes = []int{0, 10, 50, 150}[random.IntN(4)], []int{0, 3, 15}[random.IntN(3)]
			if random.IntN(4) == 0 {
				s.lockedFor, s.lockedOf = time.Duration(random.IntN(20*24))*time.Hour, uint64(1+random.IntN(3)) //nolint:gosec // small
			}
			m := &model{t: t, seed: seed, sim: s, key: key, bare: &memory{objects: s.objects, now: time.Now}, kept: map[string]files{}, deleted: map[string]bool{}, needs: map[string][]string{}}
			for i := range uint64(10) {
				m.parts = append(m.parts, content(seed*16+i, 120+int(i)*30)) //nolint:gosec // small
			}
			m.run()
		})
	}
	if *history > 0 {
		one(*history)
		return
	}
	begun := time.Now()
	for seed := range *histories {
		one(uint64(seed + 1)) //nolint:gosec // from 1
		if t.Failed() {
			return
		}
	}
	t.Logf("%d histories in %s: %v", *histories, time.Since(begun).Round(time.Second), done)
}
