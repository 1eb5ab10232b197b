package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/restore/prepare"
)

func prepareCommand() *cobra.Command {
	var o prepare.Options
	var credentials string
	command := &cobra.Command{
		Use: "prepare-volume", Short: "Make a restored volume safe to start CouchDB on (run by the controller)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if credentials != "" {
				c, err := prepare.ReadCredentials(credentials)
				if err != nil {
					return err
				}
				o.Credentials = &c
			}
			result, err := prepare.Volume(o)
			if err != nil {
				return err
			}
			text, err := json.Marshal(result)
			if err != nil {
				return err
			}
			fmt.Println(string(text))
			return tell(text)
		},
	}
	command.Flags().StringVar(&o.Volume, "volume", "/volume", "mount point of the volume, which no link on it may lead out of")
	command.Flags().StringVar(&o.Data, "data", "", "CouchDB's data directory on the mounted volume")
	command.Flags().StringVar(&o.Config, "config", "", "CouchDB's local.d on the mounted volume, if it lies there")
	command.Flags().BoolVar(&o.Cluster, "cluster", false, "the node is one of several")
	command.Flags().BoolVar(&o.HoldReplication, "hold-replication", false, "keep CouchDB from going on with the source's replications")
	command.Flags().StringVar(&credentials, "credentials", "", "directory with new credentials (user, admin, secret) for the configuration")
	_ = command.MarkFlagRequired("data")
	return command
}

// terminationLog is where Kubernetes reads a container's last words.
const terminationLog = "/dev/termination-log"

// tell leaves the result where the controller sees it in the pod's status; outside
// of a pod there is no such file.
func tell(text []byte) error {
	log, err := os.OpenFile(terminationLog, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = log.Write(text)
	return errors.Join(err, log.Close())
}
