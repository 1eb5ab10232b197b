package csi

import (
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

func TestClassFor(t *testing.T) {
	ebs := nodes("couchdb")[0].Claim
	named := func(s string) *string { return &s }
	tests := []struct {
		name    string
		claim   cht.Claim
		named   *string
		classes []*snapv1.VolumeSnapshotClass
		want    string
		refusal string // in the text
	}{
		{name: "the only one", claim: ebs, classes: []*snapv1.VolumeSnapshotClass{class("a", driver, false), class("b", "other", true)}, want: "a"},
		{name: "the default of several", claim: ebs, classes: []*snapv1.VolumeSnapshotClass{class("a", driver, false), class("z", driver, true)}, want: "z"},
		{name: "another driver's default does not count", claim: ebs, classes: []*snapv1.VolumeSnapshotClass{class("b", "other", true), class("a", driver, false)}, want: "a"},
		{name: "named", claim: ebs, named: named("a"), classes: []*snapv1.VolumeSnapshotClass{class("z", driver, true), class("a", driver, false)}, want: "a"},
		{name: "named, of another driver", claim: ebs, named: named("b"), classes: []*snapv1.VolumeSnapshotClass{class("a", driver, true), class("b", "other", false)}, refusal: "is of driver other"},
		{name: "named, not there", claim: ebs, named: named("x"), classes: []*snapv1.VolumeSnapshotClass{class("b", driver, false), class("a", driver, true)}, refusal: "a, b"},
		{name: "named, and none there", claim: ebs, named: named("x"), refusal: "none"},
		{name: "none", claim: ebs, classes: []*snapv1.VolumeSnapshotClass{class("b", "other", true)}, refusal: "create one"},
		{name: "several, no default", claim: ebs, classes: []*snapv1.VolumeSnapshotClass{class("b", driver, false), class("a", driver, false)}, refusal: "a, b"},
		{name: "not CSI", claim: cht.Claim{Name: "c", Source: "a hostPath volume (/srv)"}, classes: []*snapv1.VolumeSnapshotClass{class("a", driver, true)}, refusal: "hostPath volume (/srv)"},
		{name: "not CSI, with a class named", claim: cht.Claim{Name: "c", Source: "an in-tree EBS volume"}, named: named("a"), classes: []*snapv1.VolumeSnapshotClass{class("a", driver, true)}, refusal: "in-tree EBS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var classes []snapv1.VolumeSnapshotClass
			for _, c := range tt.classes {
				classes = append(classes, *c)
			}
			got, err := ClassFor(ns, tt.claim, tt.named, classes)
			if got != tt.want || (err == nil) != (tt.refusal == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil {
				if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoSnapshotClass || !e.Final || !strings.Contains(err.Error(), tt.refusal) {
					t.Errorf("refused with %v, want %q", err, tt.refusal)
				}
			}
		})
	}
}
