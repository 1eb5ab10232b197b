package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Settings of the storage driver.
const (
	driverPlain = "plain" // as it is
	driverCloud = "cloud" // with the delays of a cloud's volumes
	driverLocal = "local" // none: a directory of the node's own disk, without snapshots
)

// Ways of taking a set of snapshots. Those of the product carry its mode's name.
const (
	wayNone   = "None"   // the product, nothing held
	waySeries = "Series" // freeze, snapshot, wait, thaw: one node after the other
	wayFile   = "File"   // the product: pause, measure the files, go on, copy
	wayStop   = "Stop"   // stop CouchDB, copy, start it
)

// options are the flags.
type options struct {
	nodes                    []int
	modes, drivers           []string
	backups                  int
	class, fileClass         string
	cutLatency, readyLatency time.Duration
	maxStall                 time.Duration
	rate                     float64
	workers, docs, users     int
	idle                     time.Duration
	install, quick, verbose  bool
}

// ways are all that is measured on a driver's volumes, the product's first.
func (o options) ways(driver string) []string {
	if driver == driverLocal {
		return []string{wayFile, wayStop}
	}
	return append(slices.Clone(o.modes), wayNone, waySeries)
}

// storages are the storage classes that a CHT is needed on ("" is the cluster's
// default), each with its drivers.
func (o options) storages() (all []storage) {
	snapshots := storage{}
	for _, driver := range o.drivers {
		if driver == driverLocal {
			all = append(all, storage{o.fileClass, []string{driver}})
			continue
		}
		snapshots.drivers = append(snapshots.drivers, driver)
	}
	if len(snapshots.drivers) > 0 {
		all = append([]storage{snapshots}, all...)
	}
	return all
}

type storage struct {
	class   string
	drivers []string
}

// parse reads the flags. --quick changes defaults only: what is given stands.
func parse(args []string) (options, error) {
	o, nodes, modes, drivers := options{}, "", "", ""
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&nodes, "nodes", "1,3,6", "comma list of numbers of CouchDB nodes")
	flags.StringVar(&modes, "modes", "Freeze,Pause", "comma list of the product's quiesce modes; None and the series are always taken")
	flags.StringVar(&drivers, "drivers", "plain,cloud,local", "comma list: plain (the driver as it is), cloud (with --cut-latency and --ready-latency; needs the testbed), local (no driver: method File on volumes of --file-class; needs the testbed)")
	flags.IntVar(&o.backups, "backups", 12, "backups of each kind")
	flags.StringVar(&o.class, "class", "", "VolumeSnapshotClass of plain; default: the cluster's default")
	flags.StringVar(&o.fileClass, "file-class", "local-path", "StorageClass of local: hostPath volumes of this machine")
	flags.DurationVar(&o.cutLatency, "cut-latency", 300*time.Millisecond, "cloud: time until a volume's point in time is fixed")
	flags.DurationVar(&o.readyLatency, "ready-latency", 2*time.Second, "cloud: time from then until the snapshot is ready to use")
	flags.DurationVar(&o.maxStall, "max-stall", 30*time.Second, "spec.maxStall, and the bound of each freeze of the series")
	flags.Float64Var(&o.rate, "rate", 40, "writes a second while backups are taken")
	flags.IntVar(&o.workers, "workers", 8, "writes under way at a time")
	flags.IntVar(&o.docs, "docs", 1000, "documents seeded")
	flags.IntVar(&o.users, "users", 12, "users seeded, each with a database")
	flags.DurationVar(&o.idle, "idle", 10*time.Second, "how long the idle controller is watched, to take its background out of its API calls")
	flags.BoolVar(&o.install, "install", true, "install the controller from this tree; false measures the one that runs")
	flags.BoolVar(&o.quick, "quick", false, "three nodes, cloud only, two backups of each kind: less than two minutes, no more than a look")
	flags.BoolVar(&o.verbose, "v", false, "show each phase of each backup")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"nodes": "3", "drivers": driverCloud, "backups": "2", "idle": "4s", "docs": "300", "users": "6"} {
			if !given[name] {
				if err := flags.Set(name, value); err != nil {
					return o, err
				}
			}
		}
	}
	return o, errors.Join(o.setNodes(nodes), o.setLists(modes, drivers), o.check(flags.Args()))
}

func (o *options) setNodes(list string) error {
	for _, one := range strings.Split(list, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1 || n > 16 {
			return fmt.Errorf("--nodes: %q is not a number from 1 to 16", one)
		}
		o.nodes = append(o.nodes, n)
	}
	return nil
}

func (o *options) setLists(modes, drivers string) error {
	for _, one := range strings.Split(modes, ",") {
		if one != string(api.QuiesceFreeze) && one != string(api.QuiescePause) {
			return fmt.Errorf("--modes: %q is neither Freeze nor Pause", one)
		}
		if slices.Contains(o.modes, one) {
			return fmt.Errorf("--modes: %s is there twice", one)
		}
		o.modes = append(o.modes, one)
	}
	for _, one := range strings.Split(drivers, ",") {
		if one != driverPlain && one != driverCloud && one != driverLocal {
			return fmt.Errorf("--drivers: %q is none of %s, %s and %s", one, driverPlain, driverCloud, driverLocal)
		}
		if slices.Contains(o.drivers, one) {
			return fmt.Errorf("--drivers: %s is there twice", one)
		}
		o.drivers = append(o.drivers, one)
	}
	return nil
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.backups < 1:
		return fmt.Errorf("--backups %d: at least one", o.backups)
	case o.rate <= 0 || o.workers < 1:
		return fmt.Errorf("--rate %g, --workers %d: without writes there is no stall to see", o.rate, o.workers)
	}
	return nil
}
