package ini

import (
	"maps"
	"sync"
)

// Config is the merged configuration of a running node.
type Config struct {
	// Guard runs each write to disk; the node passes its dirty-IO slots, so that
	// a frozen disk holds a configuration write like any other.
	Guard func(func() error) error

	file  string
	write sync.Mutex // one writer: later persisted changes queue behind a stalled one
	mu    sync.RWMutex
	vals  Values
}

// Load merges defaults and files; persisted changes go to the last file.
func Load(defaults Values, files []string) (*Config, error) {
	c := &Config{vals: Values{}, Guard: func(f func() error) error { return f() }}
	c.merge(defaults)
	for _, path := range files {
		vals, err := ReadFile(path)
		if err != nil {
			return nil, err
		}
		c.merge(vals)
		c.file = path
	}
	return c, nil
}

func (c *Config) merge(vals Values) {
	for section, kv := range vals {
		if c.vals[section] == nil {
			c.vals[section] = map[string]string{}
		}
		maps.Copy(c.vals[section], kv)
	}
}

// Get returns a value and whether it is set.
func (c *Config) Get(section, key string) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.vals[section][key]
	return v, ok
}

// Section returns a copy of one section, nil when there is none.
func (c *Config) Section(section string) map[string]string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.vals[section])
}

// All returns a copy of everything.
func (c *Config) All() Values {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := Values{}
	for s, kv := range c.vals {
		out[s] = maps.Clone(kv)
	}
	return out
}

// Set changes a value (nil removes it) and returns the previous one. When
// persisted, the change takes effect only once it is on disk.
func (c *Config) Set(section, key string, value *string, persist bool) (old string, existed bool, err error) {
	c.write.Lock()
	defer c.write.Unlock()
	old, existed = c.Get(section, key)
	if persist && c.file != "" {
		err = c.Guard(func() error { return SaveFile(c.file, section, key, value) })
		if err != nil {
			return old, existed, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.vals[section], key)
		return old, existed, nil
	}
	if c.vals[section] == nil {
		c.vals[section] = map[string]string{}
	}
	c.vals[section][key] = *value
	return old, existed, nil
}
