package ec2

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Tag of a resource.
type Tag struct{ Key, Value string }

// tagMap is tags as tests like them.
func tagMap(tags []Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

func tagsOf(m map[string]string) (tags []Tag) {
	for k, v := range m {
		tags = append(tags, Tag{k, v})
	}
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

func tagValue(tags []Tag, key string) (string, bool) {
	for _, t := range tags {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}

// withTags are tags with others put over them.
func withTags(tags, more []Tag) ([]Tag, error) {
	out := slices.Clone(tags)
	for _, t := range more {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 127:
			return nil, fail("InvalidParameterValue", "Tag key '%s' has an invalid length. The maximum length is 127 characters.", t.Key)
		case utf8.RuneCountInString(t.Value) > 255:
			return nil, fail("InvalidParameterValue", "Tag value for key '%s' exceeds the maximum length of 255 characters", t.Key)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, fail("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
		if i := slices.IndexFunc(out, func(o Tag) bool { return o.Key == t.Key }); i >= 0 {
			out[i] = t
		} else {
			out = append(out, t)
		}
	}
	if len(out) > 50 {
		return nil, fail("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	return out, nil
}

// specified are a request's tags for what it makes.
func (q *request) specified(kind string) (tags []Tag, err error) {
	err = q.each("TagSpecification", "ResourceType", func(p string) error {
		if q.get(p+"ResourceType") != kind {
			return fail("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", q.get(p+"ResourceType"))
		}
		if _, any := q.form[p+"Tag.1.Key"]; !any {
			return fail("InvalidParameterValue", "Tag specification must have at least one tag")
		}
		return q.each(p+"Tag", "Key", func(p string) error {
			if _, twice := tagValue(tags, q.get(p+"Key")); twice {
				return fail("InvalidParameterValue", "Duplicate tag key '%s' specified.", q.get(p+"Key"))
			}
			tags = append(tags, Tag{q.get(p + "Key"), q.get(p + "Value")})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return withTags(nil, tags)
}

// tagged finds a resource's tags by its id, and a function to set them.
func (c *Cloud) tagged(q *request, id string) ([]Tag, func([]Tag), error) {
	switch {
	case strings.HasPrefix(id, "snap-"):
		s, err := c.own(q, id)
		if err != nil {
			return nil, nil, err
		}
		return s.tags, func(t []Tag) { q.region.snapshots.retag(s, t) }, nil
	case strings.HasPrefix(id, "vol-"):
		v, err := c.volume(q, id)
		if err != nil {
			return nil, nil, err
		}
		return v.tags, func(t []Tag) { v.tags = t }, nil
	case strings.HasPrefix(id, "i-"):
		if i := q.region.instances.get(id); i != nil && i.Account == q.who.account {
			return i.tags, func(t []Tag) { i.tags = t }, nil
		}
		return nil, nil, missing("instance", id)
	}
	return nil, nil, fail("InvalidID", "The ID '%s' is not valid", id)
}

// createTags and deleteTags look at all ids before they change one.
func (c *Cloud) createTags(q *request, a *answer) error {
	var more []Tag
	_ = q.each("Tag", "Key", func(p string) error { more = append(more, Tag{q.get(p + "Key"), q.get(p + "Value")}); return nil })
	if len(more) == 0 {
		return fail("MissingParameter", "The request must contain the parameter Tag")
	}
	return c.changeTags(q, a, func(tags []Tag) ([]Tag, error) { return withTags(tags, more) })
}

func (c *Cloud) deleteTags(q *request, a *answer) error {
	return c.changeTags(q, a, func(tags []Tag) ([]Tag, error) {
		out := slices.Clone(tags)
		err := q.each("Tag", "Key", func(p string) error {
			key, value := q.get(p+"Key"), q.form[p+"Value"]
			out = slices.DeleteFunc(out, func(t Tag) bool { return t.Key == key && (len(value) == 0 || t.Value == value[0]) })
			return nil
		})
		return out, err
	})
}

func (c *Cloud) changeTags(q *request, a *answer, change func([]Tag) ([]Tag, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := q.list("ResourceId")
	if len(ids) == 0 {
		return fail("MissingParameter", "The request must contain the parameter ResourceId")
	}
	var sets []func()
	for _, id := range ids {
		tags, set, err := c.tagged(q, id)
		if err != nil {
			return err
		}
		changed, err := change(tags)
		if err != nil {
			return err
		}
		sets = append(sets, func() { set(changed) })
	}
	for _, set := range sets {
		set()
	}
	a.ok()
	return nil
}

// aTag is one line of DescribeTags.
type aTag struct {
	Tag
	id, kind string
	seq      uint64
}

func (c *Cloud) describeTags(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []aTag
	add := func(id, kind string, tags []Tag) {
		for _, t := range tags {
			all = append(all, aTag{t, id, kind, uint64(len(all) + 1)})
		}
	}
	for s := range q.region.snapshots.all() {
		if s.Account == q.who.account {
			add(s.ID, "snapshot", s.tags)
		}
	}
	for _, v := range q.region.volumes.rows {
		if v.Account == q.who.account {
			add(v.ID, "volume", v.tags)
		}
	}
	for _, i := range q.region.instances.rows {
		if i.Account == q.who.account {
			add(i.ID, "instance", i.tags)
		}
	}
	f, err := q.filters(map[string]bool{"key": true, "value": true, "resource-id": true, "resource-type": true})
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t aTag) bool {
		return !f.match(func(name string) []string {
			switch name {
			case "key":
				return []string{t.Key}
			case "value":
				return []string{t.Value}
			case "resource-id":
				return []string{t.id}
			default:
				return []string{t.kind}
			}
		}, []Tag{t.Tag})
	})
	page, next, err := cut(q, all, func(t aTag) uint64 { return t.seq }, 5, 1000)
	if err != nil {
		return err
	}
	list(a, "tagSet", page, func(t aTag) {
		a.text("resourceId", t.id)
		a.text("resourceType", t.kind)
		a.text("key", t.Key)
		a.text("value", t.Value)
	})
	a.text("nextToken", next)
	return nil
}
