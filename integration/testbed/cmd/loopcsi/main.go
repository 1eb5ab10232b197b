// Command loopcsi serves the loop-device CSI driver of the testbed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/medic/cht-backup/integration/testbed/loopcsi"
)

func main() {
	var o loopcsi.Options
	flag.StringVar(&o.Driver, "driver", "loop.csi.cht-backup.test", "CSI driver name")
	flag.StringVar(&o.Node, "node", "testbed", "node id")
	flag.StringVar(&o.Pool, "pool", "", "directory on a file system with reflinks")
	flag.StringVar(&o.Socket, "socket", "", "socket of the CSI services")
	flag.StringVar(&o.Registration, "registration", "", "socket for the kubelet's plugin watcher")
	flag.BoolVar(&o.Snapshots, "snapshots", true, "offer snapshots")
	flag.BoolVar(&o.CloudIDs, "cloud-ids", false, "give volumes and snapshots ids as EC2 does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := loopcsi.Serve(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "loopcsi:", err)
		os.Exit(1)
	}
}
