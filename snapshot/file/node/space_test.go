package node

import (
	"errors"
	"testing"
)

func TestSpace(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		free, capacity int64
		enough         bool
	}{
		{2 * gb, 100 * gb, true}, {gb - 1, 100 * gb, false},
		{gb / 2, 10 * gb, true}, {gb / 2, 10*gb + 40, false}, // a twentieth of a small one
		{0, gb, false},
	} {
		if err := enoughSpace(c.free, c.capacity); (err == nil) != c.enough || err != nil && !errors.Is(err, ErrNoSpace) {
			t.Errorf("%d of %d: %v", c.free, c.capacity, err)
		}
	}
	for _, c := range []struct {
		name         string
		free         int64
		read, unread int64
		some, all    bool
	}{
		{"room enough", gb, 5 * gb, 5 * gb, false, false},
		{"nothing of it is ours", 0, 0, 0, false, false},
		{"what was read already is enough", gb / 4, gb, gb, true, false},
		{"what was read is not enough", gb / 4, gb / 8, gb, true, true},
		{"nothing was read", gb / 4, 0, gb, false, true},
	} {
		if some, all := relief(c.free, 100*gb, c.read, c.unread); some != c.some || all != c.all {
			t.Errorf("%s: lets go %v, all %v", c.name, some, all)
		}
	}
}
