package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/ec2"
)

// EBSDriver is the name of the testbed's driver whose storage a fake of EC2 shares.
const EBSDriver = "ebs.csi.aws.com"

// The one zone that the testbed's node is said to be in.
const (
	EBSRegion = "eu-west-1"
	EBSZone   = EBSRegion + "a"
)

// EC2 is a fake of EC2 whose volumes and snapshots are those of the testbed's driver:
// real bytes come back. It lives in the test's process and outlives the cluster.
type EC2 struct {
	*ec2.Cloud
	// URL is where pods reach it.
	URL string
}

// EC2 starts one for a test.
func (c *Cluster) EC2(t testing.TB) *EC2 {
	t.Helper()
	if !c.Local {
		t.Skip("needs the testbed, whose storage a fake of EC2 can share")
	}
	address, err := c.hostAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	cloud := ec2.New(ec2.Options{Backing: storage{c}})
	server := &http.Server{Handler: cloud, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with the test
	t.Cleanup(func() { _ = server.Close() })
	return &EC2{Cloud: cloud, URL: "http://" + listener.Addr().String()}
}

// hostAddress is this machine's as the node sees it.
func (c *Cluster) hostAddress(ctx context.Context) (string, error) {
	var info corev1.ConfigMap
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "testbed-info"}, &info); err != nil {
		return "", fmt.Errorf("find the node's address: %w", err)
	}
	probe, err := net.Dial("udp", net.JoinHostPort(info.Data["nodeIP"], "9")) // sends nothing
	if err != nil {
		return "", err
	}
	defer func() { _ = probe.Close() }()
	host, _, err := net.SplitHostPort(probe.LocalAddr().String())
	return host, err
}

// Env are the variables by which the controller comes to this EC2.
func (e *EC2) Env() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL_EC2": e.URL, "AWS_REGION": EBSRegion, "AWS_ACCESS_KEY_ID": ec2.AccessKey(ec2.DefaultAccount), "AWS_SECRET_ACCESS_KEY": "not-checked"}
}

// Knows tells EC2 of the volumes that the driver made in a namespace, as AWS would
// know of them.
func (e *EC2) Knows(ctx context.Context, c *Cluster, namespace string) error {
	var volumes corev1.PersistentVolumeList
	if err := c.Client.List(ctx, &volumes); err != nil {
		return err
	}
	for _, pv := range volumes.Items {
		if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != EBSDriver || pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.Namespace != namespace {
			continue
		}
		size := pv.Spec.Capacity.Storage().Value()
		if _, err := e.AddVolume(ec2.Volume{ID: pv.Spec.CSI.VolumeHandle, Zone: EBSZone, SizeGiB: int32((size + 1<<30 - 1) >> 30)}); err != nil {
			return err
		}
	}
	return nil
}

// InZone says of the cluster's nodes that they are in EC2's zone, or takes that back.
func (c *Cluster) InZone(ctx context.Context, in bool) error {
	zone, region := `"`+EBSZone+`"`, `"`+EBSRegion+`"`
	if !in {
		zone, region = "null", "null"
	}
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil {
		return err
	}
	for i := range nodes.Items {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s,%q:%s}}}`, corev1.LabelTopologyZone, zone, corev1.LabelTopologyRegion, region)
		if err := c.Client.Patch(ctx, &nodes.Items[i], client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			return fmt.Errorf("label node %s: %w", nodes.Items[i].Name, err)
		}
	}
	return nil
}

// storage is the driver's, as the testbed's command changes it.
type storage struct{ c *Cluster }

func (s storage) do(ctx context.Context, args ...string) error {
	// A client that gives up leaves no half.
	_, err := s.c.Testbed(context.WithoutCancel(ctx), append([]string{"storage"}, args...)...)
	return err
}

func (s storage) Snapshot(ctx context.Context, volume, snapshot string) error {
	return s.do(ctx, "snapshot", volume, snapshot)
}

func (s storage) Copy(ctx context.Context, source, snapshot string) error {
	return s.do(ctx, "copy", source, snapshot)
}

func (s storage) Volume(ctx context.Context, snapshot, volume string, sizeGiB int32) error {
	bytes := fmt.Sprint(int64(sizeGiB) << 30)
	if snapshot == "" {
		return s.do(ctx, "blank", volume, bytes)
	}
	return s.do(ctx, "volume", snapshot, volume, bytes)
}

func (s storage) DeleteSnapshot(ctx context.Context, snapshot string) error {
	return s.do(ctx, "delete-snapshot", snapshot)
}

func (s storage) DeleteVolume(ctx context.Context, volume string) error {
	return s.do(ctx, "delete-volume", volume)
}
