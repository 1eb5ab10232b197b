package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/file/keyring"
)

func inNamespace(name string) client.ListOption { return client.InNamespace(name) }

// removeKeys deletes the keys of the repositories that the stage's backups of files were
// written to: with the backups, nobody needs them any more. The product keeps them.
func (s *stage) removeKeys(ctx context.Context) error {
	err := s.c.Client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(harness.ControllerNamespace),
		client.HasLabels{keyring.Label}, client.MatchingLabels{api.SourceNamespaceLabel: s.namespace})
	if err != nil {
		return fmt.Errorf("delete the keys of the repositories of %s: %w", s.namespace, err)
	}
	return nil
}

// leftovers lists what a stage left in the cluster, records of its backups
// included.
func (s *stage) leftovers(ctx context.Context) ([]string, error) {
	found, err := s.c.Leftovers(ctx, s.namespace)
	var records corev1.SecretList
	err = errors.Join(err, s.c.Client.List(ctx, &records, inNamespace(harness.ControllerNamespace), client.MatchingLabels{api.SourceNamespaceLabel: s.namespace}))
	for _, one := range records.Items {
		found = append(found, "record "+one.Name)
	}
	return found, err
}
