package harness

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
)

var suite Suite

func TestMain(m *testing.M) { suite.Main(m, false) }

// bounded is the test's context with an end, so that a hang names its place.
func bounded(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestCHTWithAllParts deploys what the end-to-end tests stand on and sees that it
// carries load without a failure, and that what was written is there.
func TestCHTWithAllParts(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 6*time.Minute)
	world := c.TempNamespace(t, "world")
	if err := cht.Apply(ctx, c.Client, cht.SMSGateway(world, c.Images.Tools)); err != nil {
		t.Fatal(err)
	}
	o := cht.Defaults(c.TempNamespace(t, "smoke"), c.CHTImages())
	o.Nouveau, o.SMSGatewayURL = true, cht.GatewayURL(world)
	start := time.Now()
	if err := c.Deploy(ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Logf("deployed in %s", time.Since(start).Round(time.Millisecond))
	start = time.Now()
	if err := c.Seed(ctx, o.Namespace, "--docs", "1000", "--users", "12"); err != nil {
		t.Fatal(err)
	}
	t.Logf("seeded in %s", time.Since(start).Round(time.Millisecond))

	writer, err := c.StartLoad(ctx, o.Namespace, "writer", "--rate", "40")
	if err != nil {
		t.Fatal(err)
	}
	sms, err := c.StartLoad(ctx, o.Namespace, "writer", "--rate", "5", "--count", "10", "--type", "sms", "--dbs", "medic", "--user-dbs", "0", "--updates", "0")
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := c.StartLoad(ctx, o.Namespace, "causal", "--rate", "20", "--count", "60")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*Load{"pairs": pairs, "messages": sms} {
		if sum, err := l.Wait(ctx); err != nil || sum.Failed > 0 {
			t.Errorf("%s: %+v, %v", name, sum, err)
		}
	}
	sum, err := writer.Stop(ctx)
	if err != nil || sum.Failed > 0 || sum.Acknowledged < 50 {
		t.Errorf("writer: %+v, %v", sum, err)
	}
	t.Logf("writer: %+v, slowest %s", sum, slowest(writer.Writes()))

	now := time.Now()
	dump, err := c.Dump(ctx, o.Namespace, "", load.Checkpoint(0))
	if err != nil {
		t.Fatal(err)
	}
	writes := append(append(writer.Writes(), sms.Writes()...), pairs.Writes()...)
	if v := load.CheckWrites(dump, writes, now, now); !v.Good() {
		t.Error(v)
	}
	if v := load.CheckPairs(dump, pairs.Pairs()); v.Both != 60 || len(v.Violations) > 0 {
		t.Errorf("pairs: %+v", v)
	}
	if len(dump.Docs) < 1000 || len(dump.Locals) != 13 || dump.Deleted["medic"] == 0 {
		t.Errorf("dump has %d documents, %d checkpoints, %d deleted", len(dump.Docs), len(dump.Locals), dump.Deleted["medic"])
	}
	checkSingleNode(ctx, t, c, o, dump)
	checkMessages(ctx, t, c, world, 10)
}

// checkSingleNode sees that any node alone gives the same, and that the API does.
func checkSingleNode(ctx context.Context, t *testing.T, c *Cluster, o cht.Options, want *load.Dump) {
	t.Helper()
	for _, url := range []string{"http://" + o.Servers()[o.Nodes-1] + ":5984", "http://api." + o.Namespace + ".svc.cluster.local:5988"} {
		dump, err := c.Dump(ctx, o.Namespace, url, load.Checkpoint(0))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := load.Diff(want, dump); len(diff) > 0 {
			t.Errorf("through %s: %v", url, diff)
		}
	}
}

// checkMessages sees that Sentinel sent each message, for a clone must not.
func checkMessages(ctx context.Context, t *testing.T, c *Cluster, world string, want int64) {
	t.Helper()
	got, err := c.MessageCount(ctx, world)
	for err == nil && got < want && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond) // Sentinel tells nobody when it has sent
		got, err = c.MessageCount(ctx, world)
	}
	if err != nil || got != want {
		t.Errorf("the gateway got %d messages, want %d (%v)", got, want, err)
	}
}

func slowest(writes []load.Write) time.Duration {
	var most int64
	for _, w := range writes {
		most = max(most, w.End-w.Start)
	}
	return time.Duration(most)
}

// TestPacketsAreCounted sees that a packet from one namespace to another is
// counted, by a pod's address and by a Service's, and that silence is zero.
func TestPacketsAreCounted(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("packets are seen on the testbed only")
	}
	ctx := bounded(t, 4*time.Minute)
	o := cht.Defaults(c.TempNamespace(t, "packets-a"), c.CHTImages())
	o.Nodes, o.Components = 1, cht.Components{HAProxy: true}
	if err := c.Deploy(ctx, o); err != nil {
		t.Fatal(err)
	}
	other := c.TempNamespace(t, "packets-b")
	p, err := c.CountPackets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.ExecTool(ctx, o.Namespace, "get", "/_up"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Between(o.Namespace, other); err == nil {
		t.Errorf("%d packets of a namespace without any, and no error", n)
	}
	if n, err := p.Between(o.Namespace, o.Namespace); err != nil || n == 0 {
		t.Errorf("inside the namespace: %d packets, %v", n, err)
	}
	url := "http://" + o.Servers()[0] + ":5984"
	_, err = c.ExecTool(ctx, other, "get", "--url", url, "/_up")
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Fatalf("a request without credentials: %v", err)
	}
	n, err := p.Between(o.Namespace, other)
	if err != nil || n == 0 {
		t.Errorf("between the namespaces: %d packets, %v", n, err)
	}
	t.Logf("%d packets: %v", n, p.Flows(o.Namespace, other))
}

// TestOneNodeAtTheVolumesRoot deploys the smallest form: one node, no HAProxy, data
// at the volume's root.
func TestOneNodeAtTheVolumesRoot(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 4*time.Minute)
	o := cht.Defaults(c.TempNamespace(t, "single"), c.CHTImages())
	o.Nodes, o.DataSubPath, o.Components = 1, "", cht.Components{}
	if err := c.Deploy(ctx, o); err != nil {
		t.Fatal(err)
	}
	url := "http://" + o.Servers()[0] + ":5984"
	if err := c.Seed(ctx, o.Namespace, "--url", url, "--docs", "50", "--users", "2"); err != nil {
		t.Fatal(err)
	}
	dump, err := c.Dump(ctx, o.Namespace, url, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(dump.Docs) < 50 {
		t.Errorf("%d documents", len(dump.Docs))
	}
}

func TestThawGuardFiresOnlyWhenNotDisarmed(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("volumes are thawed on the testbed only")
	}
	c.ThawGuard(t, time.Minute) // whose clean-up says that it did not fire
	thaw, err := c.ArmThaw(t, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); alive(thaw.pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not fire")
		}
	}
	if !thaw.Disarm() {
		t.Error("it fired and says that it did not")
	}
}
