package main

import (
	"slices"
	"testing"
	"time"
)

func TestFlags(t *testing.T) {
	full, err := parse(nil)
	if err != nil || !slices.Equal(full.nodes, []int{1, 3, 6}) || full.backups != 12 || !slices.Equal(full.drivers, []string{"plain", "cloud", "local"}) {
		t.Errorf("no flags: %+v, %v", full, err)
	}
	if got := full.ways(driverCloud); !slices.Equal(got, []string{"Freeze", "Pause", wayNone, waySeries}) {
		t.Errorf("ways: %v", got)
	}
	if got := full.ways(driverLocal); !slices.Equal(got, []string{wayFile, wayStop}) {
		t.Errorf("ways without snapshots: %v", got)
	}
	all := full.storages()
	if len(all) != 2 || all[0].class != "" || !slices.Equal(all[0].drivers, []string{"plain", "cloud"}) || all[1].class != "local-path" {
		t.Errorf("storages: %+v", all)
	}
	if one, err := parse([]string{"--drivers", "local"}); err != nil || len(one.storages()) != 1 {
		t.Errorf("local alone: %+v, %v", one.storages(), err)
	}
	quick, err := parse([]string{"--quick", "--nodes", "6,1"})
	if err != nil || !slices.Equal(quick.nodes, []int{6, 1}) || !slices.Equal(quick.drivers, []string{driverCloud}) || quick.backups != 2 || quick.cutLatency != 300*time.Millisecond {
		t.Errorf("quick: %+v, %v", quick, err)
	}
	for name, args := range map[string][]string{
		"no nodes":        {"--nodes", "0"},
		"no number":       {"--nodes", "1,x"},
		"no such mode":    {"--modes", "None"},
		"no such driver":  {"--drivers", "slow"},
		"twice":           {"--drivers", "cloud,cloud"},
		"no backups":      {"--backups", "0"},
		"no writes":       {"--rate", "0"},
		"a word too many": {"now"},
		"no such flag":    {"--fast"},
	} {
		if o, err := parse(args); err == nil {
			t.Errorf("%s: taken as %+v", name, o)
		}
	}
}
