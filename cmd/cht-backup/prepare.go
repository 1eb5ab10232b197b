package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/restore/prepare"
)

func prepareCommand() *cobra.Command {
	var o prepare.Options
	command := &cobra.Command{
		Use: "prepare-volume", Short: "Make a restored volume safe to start CouchDB on (run by the controller)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			result, err := prepare.Volume(o)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(result)
		},
	}
	command.Flags().StringVar(&o.Data, "data", "", "CouchDB's data directory on the mounted volume")
	command.Flags().StringVar(&o.Config, "config", "", "CouchDB's local.d on the mounted volume, if it lies there")
	command.Flags().BoolVar(&o.Cluster, "cluster", false, "the node is one of several")
	_ = command.MarkFlagRequired("data")
	return command
}

func probeCommand() *cobra.Command {
	var allowed string
	command := &cobra.Command{
		Use: "probe-isolation", Short: "Fail if this pod can reach anything outside its namespace (run by the controller)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			outside := os.Getenv("KUBERNETES_SERVICE_HOST") + ":" + os.Getenv("KUBERNETES_SERVICE_PORT")
			if outside == ":" {
				return fmt.Errorf("the environment names no Kubernetes API to probe")
			}
			return probe(cmd.Context(), allowed, outside)
		},
	}
	command.Flags().StringVar(&allowed, "allowed", "", "host:port that must answer")
	_ = command.MarkFlagRequired("allowed")
	return command
}
