package compose

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/compose/engine"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/compose/project"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Instance is a CHT that Compose runs, as it was found.
type Instance struct {
	Project project.Project
	Nodes   []Node
	// User and Password are CouchDB's admin's.
	User, Password string
	// Secret and UUID are what CouchDB was started with beside them.
	Secret, UUID string
	Images       []catalog.Image
	// Certificates are the files with which nginx answers.
	Certificates []project.File
}

// Node is one CouchDB node that runs.
type Node struct {
	project.Couch
	// PID is a process in its container, VMs the Erlang VMs there.
	PID int
	VMs []int
	// URL is where it answers, in the network of PID.
	URL string
	// Data and Config are directories, as this machine reaches them; Config is "" where
	// there is none.
	Data, Config string
	// HostData and HostConfig are what the engine mounts there; "" where nothing is told.
	HostData, HostConfig string
}

// Looking says how an instance is found.
type Looking struct {
	// Engine is asked; nil where there is none. Then all nodes are Given.
	Engine *engine.Client
	Given  []Given
	// Certificates is a directory with nginx's; "" for what its container has.
	Certificates string
}

// Find looks for the CouchDB nodes of a project that run, and refuses if one lacks.
func Find(ctx context.Context, p project.Project, l Looking) (Instance, error) {
	i := Instance{Project: p}
	var containers []engine.Container
	if l.Engine != nil && len(l.Given) == 0 {
		var err error
		if containers, err = l.Engine.Containers(ctx, p.Name); err != nil {
			return i, err
		}
	}
	given := l.Given
	running := map[string]engine.Container{}
	for _, c := range containers {
		if c.Service == "" {
			continue
		}
		if other, twice := running[c.Service]; twice && project.IsCouchDB(c.Service) {
			return i, reason.Refuse(api.ReasonInstanceIncomplete, "containers %.12s and %.12s both are service %s of project %s", other.ID, c.ID, c.Service, p.Name)
		}
		running[c.Service] = c
		if project.IsCouchDB(c.Service) {
			given = append(given, Given{Service: c.Service, PID: c.PID})
		}
		i.image(c.Service, c.Image, c.Digest)
	}
	if l.Engine != nil && len(l.Given) == 0 && len(given) == 0 {
		names, _ := l.Engine.Projects(ctx) // only told
		return i, reason.Refuse(api.ReasonNoInstance, "no CouchDB container of Compose project %s runs; name the project with --project-name (running: %s)", p.Name, cmp.Or(strings.Join(names, ", "), "none"))
	}
	if len(containers) == 0 {
		for _, s := range p.Services {
			i.image(s.Name, s.Image, "")
		}
	}
	if err := i.nodes(given, running); err != nil {
		return i, err
	}
	if err := i.credentials(running); err != nil {
		return i, err
	}
	return i, i.certificates(l.Certificates, running)
}

func (i *Instance) image(service, image, digest string) {
	if component := project.Component(service); component != "" && image != "" {
		i.Images = append(i.Images, catalog.Image{Component: component, Container: service, Image: image, ID: digest})
	}
}

func (i *Instance) nodes(given []Given, running map[string]engine.Container) error {
	byName, names := map[string]Given{}, []string{}
	for _, g := range given {
		byName[g.Service] = g
		names = append(names, g.Service)
	}
	couches, err := project.Nodes(names)
	if err != nil {
		return err
	}
	// A container that is down counts: a share of all data is in it.
	for _, s := range i.Project.Services {
		if _, there := byName[s.Name]; project.IsCouchDB(s.Name) && !there {
			return reason.Refuse(api.ReasonInstanceIncomplete, "service %s of the project does not run; start it, then back up", s.Name)
		}
	}
	for _, c := range couches {
		g := byName[c.Compose]
		n := Node{Couch: c, PID: g.PID, URL: cmp.Or(g.URL, fmt.Sprintf("http://127.0.0.1:%d", cht.Port))}
		if n.PID == 0 {
			return reason.Refuse(api.ReasonPodNotReady, "the container of service %s does not run; start it, then back up", c.Compose)
		}
		if n.VMs, err = pause.VMs(n.PID); err != nil {
			return reason.Refuse(api.ReasonPodNotReady, "service %s has no CouchDB that runs: %w", c.Compose, err)
		}
		// As its processes see them, wherever the engine keeps them.
		root := fmt.Sprintf("/proc/%d/root", n.VMs[0])
		n.Data, n.Config = cmp.Or(g.Data, root+cht.DataMount), cmp.Or(g.Config, root+cht.ConfigMount)
		if _, err := os.Stat(n.Data); err != nil {
			return reason.Refuse(api.ReasonInstanceIncomplete, "the data of service %s: %w; run this as root", c.Compose, err)
		}
		if _, err := os.Stat(n.Config); errors.Is(err, os.ErrNotExist) {
			n.Config = ""
		}
		n.HostData, n.HostConfig = g.Data, g.Config
		for _, m := range running[c.Compose].Mounts {
			switch filepath.Clean(m.Target) {
			case cht.DataMount:
				n.HostData = m.Source
			case cht.ConfigMount:
				n.HostConfig = m.Source
			}
		}
		i.Nodes = append(i.Nodes, n)
	}
	return nil
}

// credentials are those that CouchDB's container was started with, or of the project's
// environment.
func (i *Instance) credentials(running map[string]engine.Container) error {
	first := i.Nodes[0]
	service := i.Project.Services[first.Compose]
	sources := []map[string]string{running[first.Compose].Environment, environ(first.VMs[0]), environ(first.PID), service.Environment, i.Project.Env}
	for _, env := range sources {
		i.User, i.Password = cmp.Or(i.User, env["COUCHDB_USER"]), cmp.Or(i.Password, env["COUCHDB_PASSWORD"])
		i.Secret, i.UUID = cmp.Or(i.Secret, env["COUCHDB_SECRET"]), cmp.Or(i.UUID, env["COUCHDB_UUID"])
	}
	if i.User == "" || i.Password == "" {
		return reason.Refuse(api.ReasonCredentials, "neither service %s nor the project's .env tells COUCHDB_USER and COUCHDB_PASSWORD; put them into .env", first.Compose)
	}
	return nil
}

// environ is what a process was started with; nothing where we may not see it.
func environ(pid int) map[string]string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)) //nolint:gosec // of /proc
	if err != nil {
		return nil
	}
	env := map[string]string{}
	for _, item := range bytes.Split(text, []byte{0}) {
		if k, v, ok := strings.Cut(string(item), "="); ok {
			env[k] = v
		}
	}
	return env
}

// processes are all Erlang VMs.
func (i Instance) processes() (pids []int) {
	for _, n := range i.Nodes {
		pids = append(pids, n.VMs...)
	}
	return pids
}

// Resume continues what is stopped of the project's CouchDB, and tells whether anything
// was.
func (i Instance) Resume() (bool, error) {
	held := pause.Stopped(i.processes())
	return len(held) > 0, pause.Continue(held)
}
