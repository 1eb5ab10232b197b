package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file"
	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/repositories"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/method"
	"github.com/medic/cht-backup/snapshot/offsite"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/podexec"
)

// fileConfig are the settings of method File.
type fileConfig struct {
	FileCopies int `mapstructure:"file-copies"`
}

func fileFlags(flags *pflag.FlagSet) {
	flags.Int("file-copies", 2, "backups whose files are copied into the catalog at once, 1 to 8; each holds some 40 MiB in memory meanwhile")
}

func (c fileConfig) checkFile() error {
	if c.FileCopies < 1 || c.FileCopies > 8 {
		return fmt.Errorf("file-copies is %d; 1 to 8", c.FileCopies)
	}
	return nil
}

const (
	// packsInMemory bounds what one backup holds of packs on their way.
	packsInMemory = 32 << 20
	// packSize is how large one becomes.
	packSize = 8 << 20
	// spare is how long what an interrupted backup has sent waits for the next.
	spare = 7 * 24 * time.Hour
	// filesAtOnce are on their way of one backup: each holds a chunk or two.
	filesAtOnce = 4
)

// setUpFiles has volumes that cannot be snapshotted backed up by their files, into the
// catalog at that place.
func (c config) setUpFiles(mgr ctrl.Manager, kube *rest.Config, direct client.WithWatch, place *offsite.Place, backups *snapshot.Reconciler) (*repositories.Store, error) {
	recipients, err := bucket.Recipients(c.CatalogRecipients)
	if err != nil {
		return nil, fmt.Errorf("catalog-recipients: %w", err)
	}
	clientset, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return nil, err
	}
	store := &repositories.Store{Client: direct, Namespace: c.Namespace, Catalog: place, Recipients: recipients, Options: repo.Options{Budget: packsInMemory, PackSize: packSize, Spare: spare}}
	tender := &file.Tender{Repositories: store, Known: known(direct, backups.Records, place), Now: now}
	copies := int64(c.FileCopies)
	files := &file.Snapshotter{Client: direct, Copiers: copiers{podexec.Runner{Config: kube, Client: clientset}}, Repositories: store, Image: c.Image, Now: now,
		Turns: semaphore.NewWeighted(copies), Slots: semaphore.NewWeighted(copies * filesAtOnce), Deleted: tender.Deleted}
	backups.Files = files
	if m, is := backups.Snapshotter.(method.Snapshotter); is {
		m.File = files
		backups.Snapshotter = m
	}
	handed := &repositories.Handed{Store: store, Records: backups.Records, Now: now}
	for _, runnable := range []ctrlRunnable{files, tender, handed} {
		if err := mgr.Add(runnable); err != nil {
			return nil, err
		}
	}
	return store, nil
}

type ctrlRunnable interface {
	Start(ctx context.Context) error
	NeedLeaderElection() bool
}

// copiers reach copiers by exec and by the pods' addresses.
type copiers struct{ podexec.Runner }

// Connect implements file.Connector.
func (c copiers) Connect(ctx context.Context, pod *corev1.Pod, service string) (file.Copier, error) {
	copier, err := link.DialCopier(ctx, peer(c.Runner, pod, file.Container, service))
	if err != nil {
		return nil, err
	}
	return copier, nil
}

// peer is a container that the link speaks with.
func peer(run podexec.Runner, pod *corev1.Pod, container, service string) link.Peer {
	return link.Peer{Name: fmt.Sprintf("%s (pod %s/%s)", service, pod.Namespace, pod.Name), IP: pod.Status.PodIP,
		Exec: func(ctx context.Context, command []string, stdin io.Reader, stdout io.Writer) error {
			return run.Run(ctx, pod.Namespace, pod.Name, container, command, stdin, stdout)
		}}
}

// readers opens repositories for restores.
type readers struct{ *repositories.Store }

// Open implements restore.Repositories.
func (r readers) Open(ctx context.Context, id string) (transfer.Reader, error) {
	return r.Store.Open(ctx, id)
}

// known gives the backups of a namespace that anything speaks of: Backups, records in
// this cluster, records in the catalog.
func known(kube client.Client, records catalog.Store, place *offsite.Place) func(context.Context, string) (map[types.UID]bool, error) {
	return func(ctx context.Context, namespace string) (map[types.UID]bool, error) {
		all := map[types.UID]bool{}
		for list, err := range paged.Pages(ctx, kube, &api.BackupList{}, client.InNamespace(namespace)) {
			if err != nil {
				return nil, fmt.Errorf("list backups of %s: %w", namespace, err)
			}
			for i := range list.Items {
				all[list.Items[i].UID] = true
			}
		}
		heads, err := records.List(ctx, namespace)
		if err != nil {
			return nil, err
		}
		for _, h := range heads {
			all[h.UID] = true
		}
		err = place.Heads(ctx, namespace, func(h bucket.Head) error {
			all[h.UID] = true
			return nil
		})
		return all, err
	}
}
