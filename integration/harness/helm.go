package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/release"
)

// helmWithin bounds an action whose context has no end.
const helmWithin = 5 * time.Minute

// Helm does in one namespace what the command of that name does: releases are kept in
// Secrets there, hooks run, and each action waits until what it made is ready.
type Helm struct {
	c         *Cluster
	namespace string
}

// Helm gives the releases of a namespace, which an installation makes where it is not.
func (c *Cluster) Helm(namespace string) *Helm { return &Helm{c: c, namespace: namespace} }

// Install installs the chart in a folder, with the folders of its dependencies.
func (h *Helm) Install(ctx context.Context, name, folder string, values map[string]any) (*release.Release, error) {
	ch, err := loadChart(folder)
	if err != nil {
		return nil, err
	}
	return h.InstallChart(ctx, name, ch, values)
}

// InstallChart is Install of a chart that need not be on disk.
func (h *Helm) InstallChart(ctx context.Context, name string, ch *chart.Chart, values map[string]any) (*release.Release, error) {
	config, within, err := h.begin(ctx)
	if err != nil {
		return nil, err
	}
	i := action.NewInstall(config)
	i.ReleaseName, i.Namespace, i.CreateNamespace = name, h.namespace, true
	i.Wait, i.WaitForJobs, i.Timeout = true, true, within
	rel, err := i.RunWithContext(ctx, ch, copyValues(values))
	return rel, h.failed(ctx, "install", name, rel, err)
}

// Upgrade makes the chart in a folder, with these values and no others, the release's
// newest revision.
func (h *Helm) Upgrade(ctx context.Context, name, folder string, values map[string]any) (*release.Release, error) {
	ch, err := loadChart(folder)
	if err != nil {
		return nil, err
	}
	return h.UpgradeChart(ctx, name, ch, values)
}

// UpgradeChart is Upgrade to a chart that need not be on disk.
func (h *Helm) UpgradeChart(ctx context.Context, name string, ch *chart.Chart, values map[string]any) (*release.Release, error) {
	config, within, err := h.begin(ctx)
	if err != nil {
		return nil, err
	}
	u := action.NewUpgrade(config)
	u.Namespace, u.ResetValues = h.namespace, true
	u.Wait, u.WaitForJobs, u.Timeout = true, true, within
	rel, err := u.RunWithContext(ctx, name, ch, copyValues(values))
	return rel, h.failed(ctx, "upgrade", name, rel, err)
}

// Rollback goes back to a revision; 0 is the one before the last.
func (h *Helm) Rollback(ctx context.Context, name string, revision int) error {
	config, within, err := h.begin(ctx)
	if err != nil {
		return err
	}
	r := action.NewRollback(config)
	r.Version, r.Wait, r.WaitForJobs, r.Timeout = revision, true, true, within
	err = r.Run(name)
	rel, _ := config.Releases.Last(name) // only to say more about err
	return h.failed(ctx, "roll back", name, rel, err)
}

// Uninstall removes a release and waits until its objects are gone. It says what Helm
// kept by the objects' resource policy.
func (h *Helm) Uninstall(ctx context.Context, name string) (string, error) {
	config, within, err := h.begin(ctx)
	if err != nil {
		return "", err
	}
	u := action.NewUninstall(config)
	u.Wait, u.Timeout, u.DeletionPropagation = true, within, "foreground"
	response, err := u.Run(name)
	if err != nil {
		return "", fmt.Errorf("uninstall release %s/%s: %w", h.namespace, name, err)
	}
	return response.Info, nil
}

// Manifest is what the newest revision of a release installed, without hooks.
func (h *Helm) Manifest(ctx context.Context, name string) (string, error) {
	rel, err := h.Release(ctx, name)
	if err != nil {
		return "", err
	}
	return rel.Manifest, nil
}

// Release is the newest revision of a release.
func (h *Helm) Release(ctx context.Context, name string) (*release.Release, error) {
	config, _, err := h.begin(ctx)
	if err != nil {
		return nil, err
	}
	rel, err := config.Releases.Last(name)
	if err != nil {
		return nil, fmt.Errorf("read release %s/%s: %w", h.namespace, name, err)
	}
	return rel, nil
}

// begin makes what an action needs. Nothing of it is kept for the next one: Helm
// remembers which kinds the cluster knows, and a release may bring new ones.
func (h *Helm) begin(ctx context.Context) (*action.Configuration, time.Duration, error) {
	within := helmWithin
	if end, ok := ctx.Deadline(); ok {
		// Helm must give up first: what it does goes on in the background once ctx is over.
		within = time.Until(end) - time.Second
	}
	if within <= 0 {
		return nil, 0, errors.Join(context.Cause(ctx), errors.New("no time is left for Helm"))
	}
	config := &action.Configuration{}
	getter, err := newGetter(h.c.Config, h.namespace)
	if err != nil {
		return nil, 0, err
	}
	if err := config.Init(getter, h.namespace, "secrets", func(string, ...any) {}); err != nil {
		return nil, 0, fmt.Errorf("set up Helm for namespace %s: %w", h.namespace, err)
	}
	return config, within, nil
}

// failed says what is not ready, which Helm itself does not.
func (h *Helm) failed(ctx context.Context, what, name string, rel *release.Release, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s release %s/%s: %w%s", what, h.namespace, name, err, h.c.unready(ctx, namespacesOf(h.namespace, rel)))
}

func loadChart(folder string) (*chart.Chart, error) {
	ch, err := loader.Load(folder)
	if err != nil {
		return nil, fmt.Errorf("load the chart in %s: %w", folder, err)
	}
	return ch, nil
}

// copyValues gives Helm values of its own: it merges the chart's into their tables.
func copyValues(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for k, v := range values {
		if table, ok := v.(map[string]any); ok {
			v = copyValues(table)
		}
		out[k] = v
	}
	return out
}
