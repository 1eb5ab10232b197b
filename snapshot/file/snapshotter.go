package file

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/beside"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/reason"
)

// connectWithin bounds the admission to one copier, and surveyWithin its first walk over
// a volume.
const (
	connectWithin = 30 * time.Second
	surveyWithin  = 5 * time.Minute
)

// Snapshotter takes backups of files. It is a manager's Runnable as well: its copying
// ends when the leadership does.
type Snapshotter struct {
	Client       client.WithWatch
	Copiers      Connector
	Repositories Repositories
	// Image of the copier pods: the controller's own.
	Image string
	Now   func() time.Time
	// Turns bounds how many backups' files are copied at once, which bounds what packs hold
	// in memory; Slots how many files of all of them.
	Turns, Slots *semaphore.Weighted
	// Deleted is told of a repository in which trees were deleted; nil for nobody.
	Deleted func(repository string)

	mu   sync.Mutex
	jobs map[volume]*job
	wake func(types.NamespacedName)
	// stopped: nothing is to be copied any more. running counts what is.
	stopped bool
	running sync.WaitGroup
}

// volume is one node's of one backup.
type volume struct {
	backup  types.UID
	service string
}

// WakeWith implements snapshot.Copier.
func (s *Snapshotter) WakeWith(wake func(types.NamespacedName)) { s.wake = wake }

// Prepare implements snapshot.Snapshotter: it starts a copier beside each node and has
// it open the files.
func (s *Snapshotter) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	repository, err := s.Repositories.For(ctx, b.Namespace)
	if err != nil {
		return cut.Prepared{}, repositoryFailed(err)
	}
	pods := s.pods(b)
	err = pods.Start(ctx, copierWithin, func() (all []*corev1.Pod) {
		for _, n := range nodes {
			all = append(all, CopierPod(b, n, s.Image))
		}
		return all
	})
	if err != nil {
		return cut.Prepared{}, err
	}
	running, err := pods.List(ctx)
	if err != nil {
		return cut.Prepared{}, err
	}
	c := &prepared{Snapshotter: s, backup: b, repository: repository, log: log.FromContext(ctx)}
	for _, n := range nodes {
		m := &member{service: n.Service, claim: n.Claim.Name}
		c.members = append(c.members, m)
		if m.copier, err = s.connect(ctx, b, running, n.Service); err != nil {
			c.close()
			return cut.Prepared{}, err
		}
	}
	if err := c.survey(ctx); err != nil {
		c.close()
		return cut.Prepared{}, err
	}
	return cut.Prepared{Volumes: c.planned(), Warm: c.survey, Make: c.measure, Done: c.done}, nil
}

func (s *Snapshotter) pods(b *api.Backup) beside.Pods {
	return beside.Pods{Client: s.Client, Backup: b, Role: snapshot.RoleCopier, Unavailable: api.ReasonCopierUnavailable,
		Refused: "the namespace must let a pod run as root with the capability DAC_OVERRIDE, as the pod security level baseline does"}
}

// connect reaches the copier of a node among pods of this attempt.
func (s *Snapshotter) connect(ctx context.Context, b *api.Backup, pods []corev1.Pod, service string) (Copier, error) {
	name := beside.Meta(b, snapshot.RoleCopier, service).Name
	for i := range pods {
		pod := &pods[i]
		if pod.Name != name {
			continue
		}
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
			return nil, reason.Failed(api.ReasonCopierLost, "%s: its copier, pod %s/%s, does not run any more (%s)", service, pod.Namespace, pod.Name, ending(pod))
		}
		bounded, cancel := context.WithTimeout(ctx, connectWithin)
		defer cancel()
		c, err := s.Copiers.Connect(bounded, pod, service)
		if err != nil {
			return nil, reason.Failed(api.ReasonCopierUnavailable, "%s: the copier, pod %s/%s, cannot be reached (do NetworkPolicies let the controller reach port %d of pods in this namespace?): %w", service, pod.Namespace, pod.Name, link.Port, err)
		}
		return c, nil
	}
	return nil, reason.Failed(api.ReasonCopierLost, "%s: its copier, pod %s/%s, is gone", service, b.Namespace, name)
}

// ending says how a pod ended.
func ending(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			text := fmt.Sprintf("exit code %d, %s", t.ExitCode, t.Reason)
			if t.Message != "" {
				text += ": " + t.Message
			}
			return text
		}
	}
	if pod.DeletionTimestamp != nil {
		return "it was deleted"
	}
	return string(pod.Status.Phase) + " " + pod.Status.Reason + " " + pod.Status.Message
}

// prepared is a cut in readiness.
type prepared struct {
	*Snapshotter
	backup     *api.Backup
	repository Repository
	members    []*member
	made       bool
	log        logr.Logger
}

// member is one node's part in it.
type member struct {
	service, claim string
	copier         Copier
	measured       node.Measured
}

func (c *prepared) close() {
	for _, m := range c.members {
		if m.copier != nil {
			m.copier.Close()
		}
	}
}

// done closes the connections of a cut that was not made. One that was is handed on, and
// told of.
func (c *prepared) done() {
	if !c.made {
		c.close()
		return
	}
	for _, m := range c.members { // not while writes were held
		c.log.Info("measured", "node", m.service, "files", m.measured.Files, "bytes", m.measured.Size, "took", m.measured.Took.String(),
			"leftOut", m.measured.Left.Count, "leftOutNames", m.measured.Left.Names)
	}
}

func (c *prepared) each(ctx context.Context, do func(context.Context, *member) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range c.members {
		group.Go(func() error { return do(ctx, m) })
	}
	return group.Wait()
}

// survey has the copiers walk the volumes. Done again right before the hold, it leaves
// next to nothing to be done under it.
func (c *prepared) survey(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, surveyWithin)
	defer cancel()
	return c.each(ctx, func(ctx context.Context, m *member) error {
		_, err := m.copier.Prepare(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, node.ErrNoSpace), errors.Is(err, node.ErrTooManyFiles):
			return reason.Refuse(api.ReasonCopierUnavailable, "%s: the files of claim %s cannot be copied: %w", m.service, m.claim, err)
		case errors.Is(err, link.ErrLost):
			return reason.Failed(api.ReasonCopierLost, "%s: look at the files of claim %s: %w", m.service, m.claim, err)
		}
		return reason.Failed(api.ReasonCopierUnavailable, "%s: look at the files of claim %s: %w", m.service, m.claim, err)
	})
}

// measure makes the cut: all copiers note at once how long the files are. Every node is
// held still.
func (c *prepared) measure(ctx context.Context) ([]api.VolumeStatus, error) {
	volumes := c.planned()
	at := map[string]*api.VolumeStatus{}
	for i := range volumes {
		at[volumes[i].Node] = &volumes[i]
	}
	err := c.each(ctx, func(ctx context.Context, m *member) (err error) {
		if m.measured, err = m.copier.Measure(ctx); err != nil {
			return reason.Failed(api.ReasonCopierLost, "%s: measure the files of claim %s: %w", m.service, m.claim, err)
		}
		now := metav1.NewMicroTime(c.Now())
		v := at[m.service]
		v.CutTime = &now
		v.File.Files, v.File.Size = int32(m.measured.Files), bytes(m.measured.Size) //nolint:gosec // far below
		return nil
	})
	if err != nil {
		return nil, causeOr(ctx, err)
	}
	c.made = true
	c.begin(c.backup, c.repository, c.members)
	return volumes, nil
}

// planned are the volumes as they are known before the cut.
func (c *prepared) planned() (volumes []api.VolumeStatus) {
	for _, m := range c.members {
		volumes = append(volumes, api.VolumeStatus{Node: m.service, Claim: m.claim, Method: api.MethodFile, File: &api.FileVolume{Repository: c.repository.ID()}})
	}
	return volumes
}

func bytes(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }

// causeOr prefers the reason a context ended for over the error that the end of the
// context produced somewhere below.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && reason.Of(cause) != nil {
		return cause
	}
	return err
}

// repositoryFailed gives an error of the repository its reason, where it has none.
func repositoryFailed(err error) error {
	if err == nil || reason.Of(err) != nil {
		return err
	}
	return reason.Failed(api.ReasonRepositoryFailed, "the repository in the catalog: %w", err)
}
