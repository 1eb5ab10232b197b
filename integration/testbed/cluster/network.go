package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/testbed/mounts"
	"github.com/medic/cht-backup/integration/testbed/tool"
)

const (
	netnsDir  = "/run/netns"
	netnsFile = netnsDir + "/" + Netns
)

// inNode puts a command into the node's network namespace. nsenter keeps the pid;
// ip netns exec would mount another /sys and hide the cgroups.
func inNode(argv ...string) []string {
	return append([]string{"nsenter", "--net=" + netnsFile, "--"}, argv...)
}

// makeNetwork gives the node a network namespace, joined to the host by a veth
// pair, with the pods' and the services' addresses routed to it.
func makeNetwork() error {
	steps := [][]string{
		{"ip", "netns", "add", Netns},
		{"ip", "link", "add", hostLink, "type", "veth", "peer", "name", "eth0", "netns", Netns},
		{"ip", "addr", "add", hostIP + "/30", "dev", hostLink},
		{"ip", "link", "set", hostLink, "up"},
		inNode("ip", "link", "set", "lo", "up"),
		inNode("ip", "addr", "add", nodeIP+"/30", "dev", "eth0"),
		inNode("ip", "link", "set", "eth0", "up"),
		// The kubelet and kube-proxy look for a default route; nothing is forwarded.
		inNode("ip", "route", "add", "default", "via", hostIP),
		inNode("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"),
		{"ip", "route", "add", PodCIDR, "via", nodeIP, "dev", hostLink},
		{"ip", "route", "add", ServiceCIDR, "via", nodeIP, "dev", hostLink},
	}
	for _, argv := range steps {
		if err := tool.Run(argv...); err != nil {
			return fmt.Errorf("make the node's network: %w", err)
		}
	}
	return nil
}

// removeNetnsDir undoes what the first "ip netns add" on a machine does: it mounts
// the directory of the names on itself.
func removeNetnsDir() error {
	names, err := os.ReadDir(netnsDir)
	if err != nil || len(names) > 0 {
		return ignoreMissing(err)
	}
	if err := mounts.UnmountUnder(netnsDir); err != nil {
		return err
	}
	return ignoreMissing(os.Remove(netnsDir))
}

// killInNode ends what runs in the node's network namespace and has no record:
// captures that a test left, a component whose starter was killed in the act.
func killInNode() error {
	if _, err := os.Stat(netnsFile); err != nil {
		return ignoreMissing(err)
	}
	pids, err := tool.Output("ip", "netns", "pids", Netns)
	if err != nil {
		return nil // half-made: a file without a namespace
	}
	for _, field := range strings.Fields(pids) {
		if pid, err := strconv.Atoi(field); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return nil
}

// removeNetwork takes the node's network namespace away. Routes go with the veth
// pair.
func removeNetwork() error {
	if _, err := os.Stat(netnsFile); err == nil {
		if err := tool.Run("ip", "netns", "del", Netns); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join("/sys/class/net", hostLink)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// The namespace may live on a moment in a dying process, its veth with it; that
	// the peer went while we asked is no error.
	err := tool.Run("ip", "link", "del", hostLink)
	if _, gone := os.Stat(filepath.Join("/sys/class/net", hostLink)); errors.Is(gone, os.ErrNotExist) {
		return nil
	}
	return err
}
