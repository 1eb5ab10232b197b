package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/medic/cht-backup/snapshot/ebs/rate"
)

func TestEBSRates(t *testing.T) {
	got, err := config{EBSCallsPerSecond: []string{"2.5/30", "CreateTags=8", "CopySnapshot=1/5"}}.ebsRates()
	if err != nil || got.Each != (rate.Limit{PerSecond: 2.5, Burst: 30}) || got.Calls["CreateTags"] != (rate.Limit{PerSecond: 8, Burst: rate.Default.Each.Burst}) ||
		got.Calls["CopySnapshot"] != (rate.Limit{PerSecond: 1, Burst: 5}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := (config{}).ebsRates(); err != nil || got.Each != rate.Default.Each {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "0", "-1", "4/0", "4/", "x", "=4", "NaN", "CreateTags=", "4/4/4"} {
		if got, err := (config{EBSCallsPerSecond: []string{bad}}).ebsRates(); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestClusterName(t *testing.T) {
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "0f3c2a5e"}}
	c := fake.NewClientBuilder().WithObjects(system).Build()
	for set, want := range map[string]string{"": "0f3c2a5e", "nairobi": "nairobi"} {
		if got, err := (config{ClusterName: set}).cluster(c)(t.Context()); err != nil || got != want {
			t.Errorf("%q: %q, %v", set, got, err)
		}
	}
	if _, err := (config{}).cluster(fake.NewClientBuilder().Build())(t.Context()); err == nil {
		t.Error("a cluster without a name")
	}
	for name, good := range map[string]bool{"": true, "nairobi-1.prod": true, "a b": false, "../x": false, "-x": false} {
		if err := (config{ClusterName: name}).checkClusterName(); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestZoneOfANode(t *testing.T) {
	node := func(name string, labels map[string]string) client.Object {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	c := fake.NewClientBuilder().WithObjects(node("a", map[string]string{corev1.LabelTopologyZone: "eu-west-1a"}), node("b", map[string]string{corev1.LabelFailureDomainBetaZone: "eu-west-1b"}), node("c", nil)).
		WithIndex(&corev1.Node{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	for name, want := range map[string]string{"a": "eu-west-1a", "b": "eu-west-1b", "c": "", "gone": ""} {
		if got := zoneOf(c)(t.Context(), name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}
