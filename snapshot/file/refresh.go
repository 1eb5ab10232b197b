package file

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Mark implements snapshot.Snapshotter. The cut is a good one: it is copied from now on.
func (s *Snapshotter) Mark(_ context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	for _, v := range volumes {
		if j := s.of(b, v); j != nil {
			s.start(j)
		}
	}
	return nil
}

// Keep implements snapshot.Snapshotter. What is in a repository outlives the namespace,
// and whose it is its name says.
func (s *Snapshotter) Keep(context.Context, *api.Backup, ...*api.VolumeStatus) error { return nil }

func (s *Snapshotter) of(b *api.Backup, v *api.VolumeStatus) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[volume{b.UID, v.Node}]
}

// Refresh implements snapshot.Snapshotter. A controller that was restarted goes on with
// what another began.
func (s *Snapshotter) Refresh(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	var unknown []*api.VolumeStatus
	for _, v := range volumes {
		switch {
		case v.File == nil:
			return reason.Refuse(api.ReasonCopierLost, "%s: its files were not measured", v.Node)
		case v.File.Complete:
			v.Ready, v.Progress = true, "100 %"
		case s.of(b, v) == nil:
			unknown = append(unknown, v)
		}
	}
	if len(unknown) > 0 {
		if err := s.resume(ctx, b, unknown); err != nil {
			return err
		}
	}
	for _, v := range volumes {
		j := s.of(b, v)
		if v.File.Complete || j == nil {
			continue
		}
		s.start(j)
		if err := s.tell(j, b, v); err != nil {
			return err
		}
	}
	return nil
}

// tell writes into a volume how far it is. One that is complete is forgotten here: should
// it not be written down, it is found again.
func (s *Snapshotter) tell(j *job, b *api.Backup, v *api.VolumeStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range j.parts {
		if p.service != v.Node {
			continue
		}
		v.Progress = j.text(p)
		if p.file != nil {
			v.File, v.Ready = p.file.DeepCopy(), true
			delete(s.jobs, volume{b.UID, v.Node})
			return nil
		}
	}
	return j.err
}

// resume takes up the copying of volumes that this process knows nothing of: another one
// has measured them. What it has committed is in the repository, and what not, its
// copiers still hold.
func (s *Snapshotter) resume(ctx context.Context, b *api.Backup, volumes []*api.VolumeStatus) error {
	r, err := s.Repositories.Open(ctx, volumes[0].File.Repository)
	if err != nil {
		return err
	}
	trees, err := r.Trees(ctx)
	if err != nil {
		return fmt.Errorf("repository %s: %w", r.ID(), err)
	}
	var left []*api.VolumeStatus
	for _, v := range volumes {
		t, there := committed(trees, b, v)
		if !there {
			left = append(left, v)
			continue
		}
		if err := found(ctx, r, t, v); err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	pods, err := s.pods(b).List(ctx)
	if err != nil {
		return err
	}
	var members []*member
	closeAll := func() {
		for _, m := range members {
			m.copier.Close()
		}
	}
	for _, v := range left {
		m, err := s.rejoin(ctx, b, pods, v)
		if err != nil {
			closeAll()
			return err
		}
		members = append(members, m)
	}
	s.begin(b, r, members)
	return nil
}

// committed finds a volume's tree. One that an earlier attempt has left is older than the
// cut.
func committed(trees []Tree, b *api.Backup, v *api.VolumeStatus) (Tree, bool) {
	for _, t := range trees {
		if t.Owner == string(b.UID) && t.Node == v.Node && v.CutTime != nil && t.Time.After(v.CutTime.Time) {
			return t, true
		}
	}
	return Tree{}, false
}

func found(ctx context.Context, r Repository, t Tree, v *api.VolumeStatus) error {
	files, err := r.Tree(ctx, t.Name)
	if err != nil {
		return fmt.Errorf("repository %s: tree %s: %w", r.ID(), t.Name, err)
	}
	sent := v.File.Sent
	v.File = fileOf(r.ID(), t.Name, files.Dropped, len(files.Files), files.Size())
	v.File.Sent, v.Ready, v.Progress = sent, true, "100 %"
	return nil
}

// rejoin reaches a copier that holds the files for a controller that is gone.
func (s *Snapshotter) rejoin(ctx context.Context, b *api.Backup, pods []corev1.Pod, v *api.VolumeStatus) (*member, error) {
	copier, err := s.connect(ctx, b, pods, v.Node)
	if e := reason.Of(err); e != nil && e.Reason == api.ReasonCopierLost {
		return nil, reason.Refuse(api.ReasonCopierLost, "%w, and what it held is gone with it", err)
	} else if err != nil {
		return nil, transient(err) // it runs
	}
	state, err := copier.State(ctx)
	switch {
	case err != nil:
	case state.Failed != "":
		err = reason.Refuse(api.ReasonCopierLost, "%s: its copier does not hold the files any more: %s", v.Node, state.Failed)
	case state.Measured == nil:
		err = reason.Refuse(api.ReasonCopierLost, "%s: its copier was started anew, and what it held is gone", v.Node)
	}
	if err != nil {
		copier.Close()
		return nil, err
	}
	return &member{service: v.Node, claim: v.Claim, copier: copier, measured: *state.Measured}, nil
}

// transient takes an error its reason, so that it is tried again as it is.
func transient(err error) error { return fmt.Errorf("%s", err.Error()) }
