package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/snapshot/quiesce/freezer"
)

func freezerCommand() *cobra.Command {
	var volume, scratch string
	var maxStall time.Duration
	command := &cobra.Command{Use: "freezer", Short: "Freeze one CouchDB volume (run by the controller, in a pod beside CouchDB)"}
	command.PersistentFlags().StringVar(&volume, "volume", "/volume", "mount point of the claim")
	command.PersistentFlags().StringVar(&scratch, "scratch", "/scratch", "the pod's emptyDir, shared by its containers")
	socket := func() string { return filepath.Join(scratch, "watchdog.sock") }

	hold := &cobra.Command{
		Use: "hold", Short: "Serve one hold on stdin and stdout", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return freezer.Hold(cmd.Context(), os.Stdin, os.Stdout, freezer.Options{Volume: volume, Scratch: scratch, MaxStall: maxStall, Watchdog: socket()})
		},
	}
	hold.Flags().DurationVar(&maxStall, "max-stall", 10*time.Second, "longest freeze")
	onVolume := func(use, short string, do func(cmd *cobra.Command, v *freezer.Volume) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := freezer.OpenVolume(volume)
			if err != nil {
				return err
			}
			return do(cmd, v)
		}}
	}
	command.AddCommand(hold,
		onVolume("guard", "Thaw at start and at the end, nothing between", func(cmd *cobra.Command, v *freezer.Volume) error {
			return freezer.Guard(cmd.Context(), v)
		}),
		onVolume("thaw", "Thaw, whoever froze", func(_ *cobra.Command, v *freezer.Volume) error {
			return freezer.Thaw(v)
		}),
		onVolume("watch", "Thaw when a hold is lost or late", func(cmd *cobra.Command, v *freezer.Volume) error {
			return freezer.Watch(cmd.Context(), v, socket())
		}))
	return command
}
