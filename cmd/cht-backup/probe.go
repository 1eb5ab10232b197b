package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/restore/probe"
)

// longestMessage is what Kubernetes keeps of a termination message, in bytes: a
// report cut off by it could not be read.
const longestMessage = 4096

func probeCommand() *cobra.Command {
	var targets []probe.Target
	command := &cobra.Command{
		Use: "probe-isolation", Short: "Report what can be reached from this pod (run by the controller in a clone)", Args: cobra.NoArgs,
		Long: `Report what can be reached from this pod. It succeeds whenever it could make the
report, whatever is in it: what it proves is judged by those who know what can be
reached from elsewhere.`,
	}
	var texts []string
	command.Flags().StringArrayVar(&texts, "target", nil, "`KIND=HOST:PORT` to try, repeatable; KIND is Own, Source, APIServer or Outside")
	_ = command.MarkFlagRequired("target")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, text := range texts {
			t, err := probe.ParseTarget(text)
			if err != nil {
				return err
			}
			targets = append(targets, t)
		}
		return report(cmd.Context(), cmd.OutOrStdout(), probe.Dial, targets, tell)
	}
	return command
}

// report tries the targets and leaves what it found where the controller reads it.
func report(ctx context.Context, out io.Writer, dial probe.Dialer, targets []probe.Target, leave func([]byte) error) error {
	found, err := probe.Run(ctx, dial, targets)
	if err != nil {
		return fmt.Errorf("try %d addresses: %w", len(targets), err)
	}
	text, err := json.Marshal(found)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, string(text)); err != nil {
		return err
	}
	if len(text) > longestMessage {
		return fmt.Errorf("the report of %d addresses has %d bytes, more than the %d that reach the controller", len(targets), len(text), longestMessage)
	}
	return leave(text)
}
