package project

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	// maxFile of a project, and maxFiles of them. The CHT has four of some kB.
	maxFile  = 256 << 10
	maxFiles = 32
	// envFile is where Compose looks for the environment.
	envFile = ".env"
)

// Project is a Compose project as its files say.
type Project struct {
	// Dir is where it lies, Name what Compose calls it.
	Dir, Name string
	// Files are its compose files and files of the environment.
	Files []File
	// Env is what compose files are filled in with.
	Env      map[string]string
	Services map[string]Service
	// Volumes are the engine's names of named volumes, by their names in the files.
	Volumes map[string]string
}

// File is one file of a project.
type File struct {
	// Path below the project's directory, with slashes.
	Path string
	Mode fs.FileMode
	Data []byte
}

// Compose tells whether it is a compose file; others hold the environment.
func (f File) Compose() bool {
	return slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(f.Path))
}

// Service is what is said of one.
type Service struct {
	Name, Image string
	// Environment is filled in.
	Environment map[string]string
	Mounts      []Mount
}

// Mount is a directory or a named volume in a container.
type Mount struct {
	// Source is a path of the host, or with Named the engine's name of a volume.
	Source, Target string
	Named          bool
}

// Options say what cannot be read from the directory.
type Options struct {
	// Name of the project, EnvFile in the place of .env.
	Name, EnvFile string
}

// Load reads a project: all compose files in its directory and one level below, where
// the CHT's upgrade service has its own, and the files .env beside them.
func Load(dir string, o Options) (Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, err
	}
	p := Project{Dir: dir, Services: map[string]Service{}, Volumes: map[string]string{}}
	if err := p.find(o.EnvFile); err != nil {
		return p, err
	}
	return p, p.read(o)
}

// Of makes a project of files that are there already, say from a record.
func Of(dir string, files []File, o Options) (Project, error) {
	p := Project{Dir: dir, Files: files, Services: map[string]Service{}, Volumes: map[string]string{}}
	return p, p.read(o)
}

func (p *Project) find(envGiven string) error {
	var paths []string
	for _, pattern := range []string{"*.yml", "*.yaml", "*/*.yml", "*/*.yaml", envFile, "*/" + envFile} {
		found, err := filepath.Glob(filepath.Join(escape(p.Dir), pattern))
		if err != nil {
			return err
		}
		paths = append(paths, found...)
	}
	if envGiven != "" && !slices.Contains(paths, envGiven) {
		paths = append(paths, envGiven)
	}
	for _, path := range paths {
		f, err := p.file(path)
		if errors.Is(err, errOther) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if p.Files = append(p.Files, f); len(p.Files) > maxFiles {
			return fmt.Errorf("%s has more than %d compose files; give the directory of the CHT's alone", p.Dir, maxFiles)
		}
	}
	if !slices.ContainsFunc(p.Files, File.Compose) {
		return fmt.Errorf("%s has no compose file, nor has a directory in it; give the directory of the Compose project with --project", p.Dir)
	}
	return nil
}

var errOther = errors.New("it is no compose file")

func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func (p *Project) file(path string) (File, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return File{}, cmp.Or(err, errOther)
	}
	relative, err := filepath.Rel(p.Dir, path)
	if err != nil {
		return File{}, err
	}
	if !filepath.IsLocal(relative) {
		relative = filepath.Base(path) // given from elsewhere: it is put beside the others
	}
	f := File{Path: filepath.ToSlash(relative), Mode: info.Mode().Perm()}
	if info.Size() > maxFile {
		if f.Compose() {
			return f, errOther
		}
		return f, fmt.Errorf("it has %d bytes; %d are the most", info.Size(), maxFile)
	}
	if f.Data, err = os.ReadFile(path); err != nil { //nolint:gosec // of the operator's project
		return f, err
	}
	if f.Compose() {
		if _, err := parse(f.Data); err != nil {
			return f, errOther
		}
	}
	return f, nil
}

// document is what is read of a compose file.
type document struct {
	Name     string                `json:"name"`
	Services map[string]rawService `json:"services"`
	Volumes  map[string]*struct {
		Name string `json:"name"`
	} `json:"volumes"`
}

type rawService struct {
	Image       string `json:"image"`
	Environment any    `json:"environment"`
	Volumes     []any  `json:"volumes"`
}

func parse(text []byte) (document, error) {
	var d document
	if err := yaml.Unmarshal(text, &d); err != nil {
		return d, errOther // the decoder's error may quote a password
	}
	if len(d.Services) == 0 {
		return d, errOther
	}
	return d, nil
}

func (p *Project) read(o Options) error {
	if err := p.environment(o.EnvFile); err != nil {
		return err
	}
	p.Name = cmp.Or(o.Name, p.Env["CHT_COMPOSE_PROJECT_NAME"], p.Env["COMPOSE_PROJECT_NAME"])
	var documents []document
	for _, f := range p.Files {
		if !f.Compose() {
			continue
		}
		d, err := parse(f.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		p.Name = cmp.Or(p.Name, Fill(d.Name, p.Env))
		documents = append(documents, d)
	}
	p.Name = cmp.Or(p.Name, normal(filepath.Base(p.Dir)))
	for _, d := range documents {
		for name, v := range d.Volumes {
			called := p.Name + "_" + name
			if v != nil && v.Name != "" {
				called = Fill(v.Name, p.Env)
			}
			p.Volumes[name] = called
		}
	}
	i := 0
	for _, f := range p.Files {
		if !f.Compose() {
			continue
		}
		for name, raw := range documents[i].Services {
			p.Services[name] = p.service(name, raw, filepath.Join(p.Dir, filepath.Dir(filepath.FromSlash(f.Path))), p.Services[name])
		}
		i++
	}
	return nil
}

var notInName = regexp.MustCompile(`[^a-z0-9_-]`)

// normal is a project's name as Compose makes it of a directory's.
func normal(dir string) string {
	return strings.TrimLeft(notInName.ReplaceAllString(strings.ToLower(dir), ""), "_-")
}

// environment is that of .env in the directory itself, of the file that was given, or of
// the one file there is.
func (p *Project) environment(given string) error {
	p.Env = map[string]string{}
	var files []File
	for _, f := range p.Files {
		if f.Compose() {
			continue
		}
		if given != "" && (f.Path == given || filepath.Join(p.Dir, filepath.FromSlash(f.Path)) == given || f.Path == filepath.Base(given)) || given == "" && f.Path == envFile {
			files = []File{f}
			break
		}
		files = append(files, f)
	}
	if given != "" && len(files) != 1 {
		return fmt.Errorf("there is no file %s of the environment", given)
	}
	if len(files) == 1 { // only that one belongs to it
		p.Files = slices.DeleteFunc(p.Files, func(f File) bool { return !f.Compose() && f.Path != files[0].Path })
	}
	from := map[string]string{}
	for _, f := range files {
		env, err := ParseEnv(f.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		for k, v := range env {
			if was, there := p.Env[k]; there && was != v {
				return fmt.Errorf("%s and %s have different values of %s; name the one that counts with --env-file", from[k], f.Path, k)
			}
			p.Env[k], from[k] = v, f.Path
		}
	}
	return nil
}

// service reads one; what an earlier file said of it stays where this one is silent.
func (p *Project) service(name string, raw rawService, dir string, was Service) Service {
	s := Service{Name: name, Image: cmp.Or(Fill(raw.Image, p.Env), was.Image), Environment: map[string]string{}, Mounts: was.Mounts}
	for k, v := range was.Environment {
		s.Environment[k] = v
	}
	set := func(key string, value any) {
		switch v := value.(type) {
		case nil: // taken over from the environment
			if v, there := p.Env[key]; there {
				s.Environment[key] = v
			}
		case string:
			s.Environment[key] = Fill(v, p.Env)
		case bool:
			s.Environment[key] = strconv.FormatBool(v)
		default:
			s.Environment[key] = fmt.Sprint(v)
		}
	}
	switch in := raw.Environment.(type) {
	case map[string]any:
		for k, v := range in {
			set(k, v)
		}
	case []any:
		for _, item := range in {
			text, _ := item.(string)
			if k, v, ok := strings.Cut(text, "="); ok {
				set(k, v)
			} else if text != "" {
				set(text, nil)
			}
		}
	}
	for _, item := range raw.Volumes {
		m, ok := p.mount(item, dir)
		if !ok {
			continue
		}
		s.Mounts = slices.DeleteFunc(s.Mounts, func(o Mount) bool { return o.Target == m.Target })
		s.Mounts = append(s.Mounts, m)
	}
	return s
}

// mount reads SOURCE:TARGET[:MODE], or its long form.
func (p *Project) mount(item any, dir string) (Mount, bool) {
	var m Mount
	switch in := item.(type) {
	case string:
		parts := strings.Split(Fill(in, p.Env), ":")
		if len(parts) < 2 {
			return m, false
		}
		m.Source, m.Target = parts[0], parts[1]
	case map[string]any:
		source, _ := in["source"].(string)
		target, _ := in["target"].(string)
		m.Source, m.Target = Fill(source, p.Env), Fill(target, p.Env)
	}
	if m.Source == "" || m.Target == "" {
		return m, false
	}
	m.Target = filepath.Clean(m.Target)
	switch {
	case filepath.IsAbs(m.Source):
	case strings.HasPrefix(m.Source, "."):
		m.Source = filepath.Join(dir, m.Source)
	case strings.HasPrefix(m.Source, "~/"):
		home, err := os.UserHomeDir()
		if err != nil {
			return m, false
		}
		m.Source = filepath.Join(home, m.Source[2:])
	default:
		m.Named = true
		m.Source = cmp.Or(p.Volumes[m.Source], m.Source)
	}
	return m, true
}

// At gives what a service has mounted at a path of its container.
func (s Service) At(target string) (Mount, bool) {
	for _, m := range s.Mounts {
		if m.Target == filepath.Clean(target) {
			return m, true
		}
	}
	return Mount{}, false
}
