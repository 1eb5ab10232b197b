package checkup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// soon is when it looks again while something is wrong, so that a report shows
	// the repair.
	soon = 2 * time.Minute
	// lookWithin bounds one look.
	lookWithin = 5 * time.Minute
)

// NeedLeaderElection says that one of several controllers does it.
func (l *Looker) NeedLeaderElection() bool { return true }

// Start looks, and publishes what it found, until the context ends.
func (l *Looker) Start(ctx context.Context) error {
	logger := log.FromContext(ctx).WithName("checkup")
	for {
		r := l.once(ctx, logger.Error)
		if ctx.Err() == nil {
			l.tell(r, logger.Info)
		}
		again := time.NewTimer(pause(r))
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-again.C:
		}
	}
}

func (l *Looker) once(ctx context.Context, failed func(error, string, ...any)) Report {
	look, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	r := l.Look(look)
	if ctx.Err() != nil {
		return r // it ends; what it could not ask any more says nothing
	}
	// The look may have used up its time; what it found is told anyway.
	publish, done := context.WithTimeout(ctx, answerWithin)
	defer done()
	if err := l.publish(publish, r); err != nil {
		failed(err, "the check-up cannot be published; kubectl cht doctor does not see it")
	}
	return r
}

// pause is how long until the next look.
func pause(r Report) time.Duration {
	for _, c := range r.Checks {
		// What is so by choice is no reason for haste.
		chosen := slices.Contains([]string{FreezerAdmitted, CatalogOutside, CatalogRecipients}, c.Check) || c.Check == CatalogReachable && r.Catalog == ""
		if !c.OK && !chosen {
			return soon
		}
	}
	return Interval
}

// tell logs what is wrong whenever that changed.
func (l *Looker) tell(r Report, info func(string, ...any)) {
	var wrong []string
	for _, c := range r.Checks {
		if !c.OK {
			wrong = append(wrong, strings.TrimSpace(c.Check+" "+c.Namespace)+": "+c.Message)
		}
	}
	said := strings.Join(wrong, "\n")
	if said == l.said {
		return
	}
	l.said = said
	for _, w := range wrong {
		info("check-up", "found", w)
	}
	if len(wrong) == 0 {
		info("check-up: all is well now")
	}
}

// publish writes the report's ConfigMap.
func (l *Looker) publish(ctx context.Context, r Report) error {
	m, err := r.ConfigMap(l.Namespace, l.Name)
	if err != nil {
		return err
	}
	var there corev1.ConfigMap
	err = l.Client.Get(ctx, client.ObjectKeyFromObject(m), &there)
	switch {
	case apierrors.IsNotFound(err):
		err = l.Client.Create(ctx, m)
	case err != nil:
	case there.Labels[Label] != "true":
		return fmt.Errorf("ConfigMap %s/%s is somebody else's: it does not have the label %s; remove it, or set checkup-name", m.Namespace, m.Name, Label)
	default:
		there.Data = maps.Clone(m.Data)
		err = l.Client.Update(ctx, &there)
	}
	if err != nil {
		return fmt.Errorf("write ConfigMap %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}
