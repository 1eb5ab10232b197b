package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// override puts the flags over what a file said: single values, node selector
// and tolerations in its place, entries of the other lists in the place of those
// of the same key.
func (f *remapFlags) override(r *api.Remap) error {
	for _, single := range []struct {
		flag, value string
		set         func(string) error
	}{
		{"storage-class", f.class, func(v string) error { r.StorageClassName = v; return nil }},
		{"claim-size", f.size, func(v string) error {
			q, err := resource.ParseQuantity(v)
			r.ClaimSize = &q
			return err
		}},
		{"zone", f.zone, func(v string) error { r.Zone = v; return nil }},
		{"ingress-host", f.host, func(v string) error { ingress(r).Host = v; return nil }},
		{"ingress-class", f.ingressClass, func(v string) error { ingress(r).ClassName = v; return nil }},
	} {
		switch {
		case !f.given(single.flag):
			continue
		case single.value == "":
			return exit.Errorf(exit.Usage, "--%s is empty; give a value, or leave it out", single.flag)
		}
		if err := single.set(single.value); err != nil {
			return exit.Errorf(exit.Usage, "--%s %q: %w", single.flag, single.value, err)
		}
	}
	if f.given("node-selector") {
		selector := map[string]api.LabelValue{}
		for _, v := range f.nodeSelectors {
			if v == "" {
				continue // clears
			}
			key, value, err := pair("node-selector", v, "KEY=VALUE")
			if err != nil {
				return err
			}
			selector[key] = api.LabelValue(value)
		}
		r.NodeSelector = &selector
	}
	if f.given("toleration") {
		tolerations := []corev1.Toleration{}
		for _, v := range f.tolerations {
			if v == "" {
				continue // clears
			}
			t, err := toleration(v)
			if err != nil {
				return err
			}
			tolerations = append(tolerations, t)
		}
		r.Tolerations = &tolerations
	}
	return f.overrideEntries(r)
}

func (f *remapFlags) overrideEntries(r *api.Remap) error {
	for _, v := range f.replicas {
		component, count, err := pair("replicas", v, "COMPONENT=N")
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil {
			return exit.Errorf(exit.Usage, "--replicas %q: %q is not a number; give COMPONENT=N, such as api=2", v, count)
		}
		if r.Replicas == nil {
			r.Replicas = map[string]api.Replicas{}
		}
		r.Replicas[component] = api.Replicas(n)
	}
	for _, v := range f.images {
		from, to, err := pair("image-registry", v, "FROM=TO")
		if err != nil {
			return err
		}
		r.Images = slices.DeleteFunc(r.Images, func(i api.ImageRemap) bool { return i.From == from })
		r.Images = append(r.Images, api.ImageRemap{From: from, To: to})
	}
	for _, v := range f.tags {
		key, value, err := pair("label", v, "KEY=VALUE")
		if err != nil {
			return err
		}
		if r.Labels == nil {
			r.Labels = map[string]api.LabelValue{}
		}
		r.Labels[key] = api.LabelValue(value)
	}
	return nil
}

func ingress(r *api.Remap) *api.IngressRemap {
	if r.Ingress == nil {
		r.Ingress = &api.IngressRemap{}
	}
	return r.Ingress
}

func pair(flag, text, form string) (key, value string, err error) {
	key, value, found := strings.Cut(text, "=")
	if !found || key == "" {
		return "", "", exit.Errorf(exit.Usage, "--%s %q is not of the form %s", flag, text, form)
	}
	return key, value, nil
}

// toleration reads what `kubectl taint` writes: KEY[=VALUE]:EFFECT.
func toleration(text string) (corev1.Toleration, error) {
	taint, effect, found := cutLast(text, ":")
	key, value, valued := strings.Cut(taint, "=")
	t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffect(effect)}
	if valued {
		t.Operator, t.Value = corev1.TolerationOpEqual, value
	}
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	if !found || key == "" || !slices.Contains(effects, t.Effect) {
		return t, exit.Errorf(exit.Usage, "--toleration %q is not of the form KEY[=VALUE]:EFFECT with one of the effects %s, as `kubectl taint` takes it", text, strings.Trim(fmt.Sprint(effects), "[]"))
	}
	return t, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
