package transfer

import "testing"

// A room that was given back may be somebody else's: to give it back again does nothing.
func TestRoomIsGivenBackOnce(t *testing.T) {
	for range 100 { // the pool may drop what it is given
		first := NewRoom()
		first.Back()
		second := NewRoom()
		first.Back()
		third := NewRoom()
		second.Space(1)[0], third.Space(1)[0] = 2, 3
		if second.Space(1)[0] != 2 {
			t.Fatal("two have the same room")
		}
	}
	(*Room)(nil).Back()
	if n := cap(NewRoom().Space(0)); n < 1<<20 {
		t.Errorf("a room has space for %d bytes", n)
	}
	if n := len(NewRoom().Space(5 << 20)); n != 5<<20 {
		t.Errorf("%d bytes of 5 MiB", n)
	}
}
