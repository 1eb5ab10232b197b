package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
)

// A report is made whatever can be reached: what it proves is not the probe's to say.
func TestReport(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	open, closed := listener.Addr().String(), gone.Addr().String()
	for _, tt := range []struct {
		name         string
		own, outside string
		want         [2]api.Outcome
	}{
		{"closed in", open, closed, [2]api.Outcome{"Connected", "Refused"}},
		{"open", open, open, [2]api.Outcome{"Connected", "Connected"}},
		{"no network", closed, closed, [2]api.Outcome{"Refused", "Refused"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// In a bubble the pauses between the rounds take no time.
			synctest.Test(t, func(t *testing.T) {
				var said strings.Builder
				var left string
				targets := []probe.Target{{Kind: api.TargetOwn, Address: tt.own}, {Kind: api.TargetOutside, Address: tt.outside}}
				err := report(t.Context(), &said, probe.Dial, targets, func(b []byte) error { left = string(b); return nil })
				if err != nil || strings.TrimSpace(said.String()) != left {
					t.Fatalf("%v; printed %q, left %q", err, said.String(), left)
				}
				got, err := probe.Parse(left)
				if err != nil || got.Targets[0].Outcome != tt.want[0] || got.Targets[1].Outcome != tt.want[1] {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
}

func TestReportFails(t *testing.T) {
	nobody := func(context.Context, string) error { return nil }
	never := func([]byte) error { t.Error("left something"); return nil }
	many := make([]probe.Target, 60)
	for i := range many {
		many[i] = probe.Target{Kind: api.TargetAPIServer, Address: fmt.Sprintf("[2001:db8::%d]:443", i)}
	}
	synctest.Test(t, func(t *testing.T) {
		err := report(t.Context(), &strings.Builder{}, nobody, many, never)
		if err == nil || !strings.Contains(err.Error(), "4096") {
			t.Errorf("a report that would be cut off: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := report(ctx, &strings.Builder{}, nobody, many[:1], never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was to end: %v", err)
		}
	})
	// The most that the controller asks for fits, whatever comes out.
	var full []probe.Target
	for _, kind := range []api.TargetKind{api.TargetOwn, api.TargetSource, api.TargetAPIServer} {
		for i := range map[api.TargetKind]int{api.TargetOwn: 1, api.TargetSource: 16, api.TargetAPIServer: 6}[kind] {
			full = append(full, probe.Target{Kind: kind, Address: fmt.Sprintf("[2001:0db8:85a3:0000:0000:8a2e:0370:%04x]:65535", i)})
		}
	}
	for i := range 8 {
		full = append(full, probe.Target{Kind: api.TargetOutside, Address: strings.Repeat(fmt.Sprint(i), 96) + ":443"})
	}
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string) error { return errors.New("unreachable") }
		left := 0
		if err := report(t.Context(), &strings.Builder{}, dial, full, func(b []byte) error { left = len(b); return nil }); err != nil || left == 0 {
			t.Error(err)
		}
	})
}

func TestProbeCommandRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"--target", "10.0.0.1:1"}, {"--target", "Own=10.0.0.1"}, {"--allowed", "10.0.0.1:1"}} {
		command := probeCommand()
		command.SetArgs(args)
		command.SilenceErrors, command.SilenceUsage = true, true
		if err := command.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// The setting comes from a flag, the environment, or the chart's file.
func TestIsolationOutside(t *testing.T) {
	const one, two = "192.0.2.1:443", "kube-dns.kube-system.svc:9153"
	for name, set := range map[string]func(*viper.Viper, *pflag.FlagSet) error{
		"environment": func(*viper.Viper, *pflag.FlagSet) error {
			t.Setenv("CHT_BACKUP_ISOLATION_OUTSIDE", one+","+two)
			return nil
		},
		"file": func(v *viper.Viper, _ *pflag.FlagSet) error {
			v.SetConfigType("yaml")
			return v.ReadConfig(strings.NewReader("isolation-outside: [\"" + one + "\", \"" + two + "\"]"))
		},
		"flag": func(_ *viper.Viper, flags *pflag.FlagSet) error {
			return flags.Set("isolation-outside", one+","+two)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, flags := settings(), controllerCommand().Flags()
			if err := errors.Join(v.BindPFlags(flags), set(v, flags)); err != nil {
				t.Fatal(err)
			}
			var c config
			if err := v.Unmarshal(&c); err != nil || strings.Join(c.IsolationOutside, " ") != one+" "+two {
				t.Errorf("%q, %v", c.IsolationOutside, err)
			}
		})
	}
	for _, wrong := range [][]string{{"192.0.2.1"}, {":443"}, {"192.0.2.1:"}, {strings.Repeat("x", 200) + ":443"}, make([]string, 9)} {
		if err := checkOutside(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	if err := checkOutside([]string{one, two}); err != nil {
		t.Error(err)
	}
}

func TestNameservers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search a.svc.cluster.local\nnameserver 10.96.0.10\n# nameserver 192.0.2.1\nnameserver fd00::a\nnameserver nobody\nnameserver\noptions ndots:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := nameservers(file); strings.Join(got, " ") != "10.96.0.10 fd00::a" {
		t.Errorf("got %q", got)
	}
	if got := nameservers(file + ".none"); got != nil {
		t.Errorf("got %q", got)
	}
}
