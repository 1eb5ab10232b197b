package main

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

func inNamespace(name string) client.ListOption { return client.InNamespace(name) }

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
