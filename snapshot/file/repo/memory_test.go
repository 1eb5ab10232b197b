package repo

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// memory is a store in memory.
type memory struct {
	lock    sync.Mutex
	objects map[string]stored
	now     func() time.Time
	puts    int
	// locked objects are not deleted.
	locked func(key string) bool
	// fault, if set, may fail a call before it is made.
	fault func(op, key string) error
}

type stored struct {
	data []byte
	at   time.Time
}

func newMemory() *memory { return &memory{objects: map[string]stored{}, now: time.Now} }

func (m *memory) enter(op, key string) error {
	if m.fault == nil {
		return nil
	}
	return m.fault(op, key)
}

func (m *memory) Put(_ context.Context, key string, data []byte) error {
	if err := m.enter("put", key); err != nil {
		return err
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if _, ok := m.objects[key]; ok {
		return ErrExists
	}
	m.puts++
	m.objects[key] = stored{bytes.Clone(data), m.now()}
	return nil
}

func (m *memory) Get(_ context.Context, key string, offset, length int64) ([]byte, error) {
	if err := m.enter("get", key); err != nil {
		return nil, err
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, ErrNotFound
	}
	from := min(offset, int64(len(o.data)))
	return bytes.Clone(o.data[from:min(from+length, int64(len(o.data)))]), nil
}

func (m *memory) List(_ context.Context, prefix string, each func(Object) error) error {
	if err := m.enter("list", prefix); err != nil {
		return err
	}
	m.lock.Lock()
	var found []Object
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(key, prefix) {
			found = append(found, Object{key, int64(len(m.objects[key].data)), m.objects[key].at})
		}
	}
	m.lock.Unlock()
	for _, o := range found {
		if err := each(o); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	if err := m.enter("delete", key); err != nil {
		return err
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.locked != nil && m.locked(key) {
		return ErrKept
	}
	delete(m.objects, key)
	return nil
}

// keys below a prefix.
func (m *memory) keys(prefix string) (keys []string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for key := range m.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// change replaces an object's content, as nothing of ours does.
func (m *memory) change(key string, how func([]byte) []byte) {
	m.lock.Lock()
	defer m.lock.Unlock()
	o := m.objects[key]
	o.data = how(bytes.Clone(o.data))
	m.objects[key] = o
}
