package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// listen gives an address that answers, and one that refuses.
func listen(t *testing.T) (open, closed string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	return l.Addr().String(), gone.Addr().String()
}

// Only one thing proves isolation: the inside answers and the outside does not.
func TestProbe(t *testing.T) {
	open, closed := listen(t)
	other, _ := listen(t)
	for _, tt := range []struct {
		name             string
		allowed, outside string
		text             string // "" for isolated
	}{
		{"isolated", open, closed, ""},
		{"the outside answers", open, other, "reached " + other},
		{"nothing answers: the network is not up, which proves nothing", closed, closed, "cannot tell"},
		{"only the outside answers", closed, open, "reached " + open},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// In a bubble the pauses between the tries take no time.
			synctest.Test(t, func(t *testing.T) {
				err := probe(t.Context(), tt.allowed, tt.outside)
				if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want %q", err, tt.text)
				}
			})
		})
	}
}

// A network plugin applies its policy a moment after the pod has started.
func TestProbeWaitsForThePolicy(t *testing.T) {
	open, _ := listen(t)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		time.AfterFunc(2500*time.Millisecond, func() { _ = outside.Close() })
		if err := probe(t.Context(), open, outside.Addr().String()); err != nil {
			t.Error(err)
		}
	})
}

func TestProbeEndsWithItsContext(t *testing.T) {
	open, _ := listen(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := probe(ctx, open, open); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
