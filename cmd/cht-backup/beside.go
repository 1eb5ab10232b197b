package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/node"
)

// besideMemory is what such a process aims to stay below, in bytes: its machine is
// CouchDB's. Above it nothing breaks, memory is only freed more often.
const besideMemory = 96 << 20

// beside are the flags of what serves a node's volume to the controller.
type beside struct {
	layout  node.Layout
	scratch string
	serve   link.ServeOptions
}

func (b *beside) flags(serve *pflag.FlagSet) {
	serve.StringVar(&b.layout.Volume, "volume", "/volume", "mount point of the claim")
	serve.StringVar(&b.layout.Data, "data", "", "CouchDB's data directory below the volume")
	serve.StringVar(&b.layout.Config, "config", "", "CouchDB's local.d below the volume, if it lies there")
	serve.StringVar(&b.serve.Address, "listen", "", "address to listen on (by default port 7443 of all)")
	serve.DurationVar(&b.serve.Idle, "idle", 15*time.Minute, "end when the controller has asked for nothing for so long")
}

func (b *beside) socket() string { return filepath.Join(b.scratch, "admit.sock") }

// admitCommand carries an admission from the exec stream to the server.
func (b *beside) admitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "admit", Short: "Let the controller in, which speaks on stdin and stdout", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return link.Admit(cmd.Context(), b.socket(), os.Stdin, os.Stdout)
		},
	}
}

// command gives both: what the container runs, and what is run by exec.
func (b *beside) command(use, short string, serve *cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: use, Short: short}
	command.PersistentFlags().StringVar(&b.scratch, "scratch", "/scratch", "the pod's emptyDir")
	b.flags(serve.Flags())
	serve.PreRun = func(cmd *cobra.Command, _ []string) {
		debug.SetMemoryLimit(besideMemory)
		b.layout.HasConfig = cmd.Flags().Changed("config")
		b.serve.Socket = b.socket()
	}
	command.AddCommand(serve, b.admitCommand())
	return command
}

func copierCommand() *cobra.Command {
	var b beside
	return b.command("copier", "Give the controller one CouchDB node's files (run in a pod beside CouchDB)", &cobra.Command{
		Use: "serve", Short: "Serve the files until the controller lets them go", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := node.Open(b.layout)
			if err != nil {
				return err
			}
			defer func() { _ = files.Close() }()
			return link.ServeCopier(cmd.Context(), files, b.serve)
		},
	})
}

func fillCommand() *cobra.Command {
	var b beside
	var tree string
	serve := &cobra.Command{
		Use: "serve", Short: "Serve the volume until the controller has filled it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filling, err := node.Fill(b.layout, tree)
			if err != nil {
				return err
			}
			defer func() { _ = filling.Close() }()
			return link.ServeFiller(cmd.Context(), filling, b.serve)
		},
	}
	serve.Flags().StringVar(&tree, "tree", "", "what the volume is filled with: a filling that was interrupted goes on with the same alone")
	return b.command("fill", "Have the controller fill a volume (run in a pod before prepare-volume)", serve)
}
