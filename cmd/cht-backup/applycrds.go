package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func applyCRDsCommand() *cobra.Command {
	var dir, given string
	var timeout time.Duration
	command := &cobra.Command{
		Use: "apply-crds", Short: "Bring the CustomResourceDefinitions up to those in a directory (run by the chart before an upgrade)", Args: cobra.NoArgs,
		Long: `Bring the CustomResourceDefinitions of the cluster up to those in a directory, and wait until
they are served. Newer ones stay as they are: another release may have brought them, and
older ones would make the API server drop fields of what is stored. None is ever deleted.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("%s are over", timeout))
			defer cancel()
			kube, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			scheme := runtime.NewScheme()
			if err := apiextensionsv1.AddToScheme(scheme); err != nil {
				return err
			}
			c, err := client.NewWithWatch(kube, client.Options{Scheme: scheme})
			if err != nil {
				return err
			}
			return applyCRDs(ctx, c, dir, given, cmd.OutOrStdout())
		},
	}
	command.Flags().StringVar(&dir, "dir", "", "directory with the CustomResourceDefinitions, as *.yaml")
	command.Flags().StringVar(&given, "version", version, "version of what is in the directory")
	command.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait until all are served")
	_ = command.MarkFlagRequired("dir")
	return command
}
