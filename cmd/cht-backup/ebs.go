package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	restoreebs "github.com/medic/cht-backup/restore/ebs"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/rate"
)

// clusterForm is what stands in tags and in a bucket.
var clusterForm = regexp.MustCompile(`^[0-9A-Za-z]([-0-9A-Za-z._]{0,126}[0-9A-Za-z])?$`)

func (c config) checkClusterName() error {
	if c.ClusterName != "" && !clusterForm.MatchString(c.ClusterName) {
		return fmt.Errorf("cluster-name %q is not of at most 128 letters, digits, dots, dashes and underscores", c.ClusterName)
	}
	return nil
}

// ebsRates are the bounds of the calls that change something in EC2.
func (c config) ebsRates() (rate.Limits, error) {
	l := rate.Limits{Each: rate.Default.Each, Calls: map[string]rate.Limit{}}
	for _, setting := range c.EBSCallsPerSecond {
		call, text, named := strings.Cut(setting, "=")
		if !named {
			call, text = "", setting
		}
		rateText, burstText, hasBurst := strings.Cut(strings.TrimSpace(text), "/")
		perSecond, err := strconv.ParseFloat(rateText, 64)
		burst := rate.Default.Each.Burst
		if hasBurst && err == nil {
			burst, err = strconv.Atoi(burstText)
		}
		if err != nil || !(perSecond > 0) || burst < 1 || named && call == "" {
			return l, fmt.Errorf("ebs-calls-per-second: %q is neither N, N/BURST nor CALL=N/BURST with numbers above 0", setting)
		}
		limit := rate.Limit{PerSecond: perSecond, Burst: burst}
		if named {
			l.Calls[strings.TrimSpace(call)] = limit
		} else {
			l.Each = limit
		}
	}
	return l, nil
}

// ebsSnapshotter cuts by EC2. Nothing of AWS is asked before a volume needs it.
func (c config) ebsSnapshotter(kube client.Client) (*ebs.Snapshotter, *account.Account, error) {
	if _, err := c.ebsRates(); err != nil {
		return nil, nil, err
	}
	a := c.ebsAccount()
	return &ebs.Snapshotter{Cloud: ebs.On(a), Cluster: c.cluster(kube), ZoneOf: zoneOf(kube)}, a, nil
}

// ec2Of gives a restore the clients of the account that backups use.
func ec2Of(a *account.Account) restoreebs.Clients {
	return func(ctx context.Context, region string) (restoreebs.EC2, error) {
		if err := a.Check(ctx); err != nil {
			return nil, err
		}
		return a.EC2(ctx, region)
	}
}

// ebsAccount makes an AWS account; more options make it another than the controller's.
func (c config) ebsAccount(load ...func(*awsconfig.LoadOptions) error) *account.Account {
	rates, _ := c.ebsRates() // they are checked when the controller starts
	return account.New(account.Settings{Version: version, Rates: &rates, Load: load})
}

// cluster gives the cluster's name: the one that is set, or else what tells clusters
// apart in fact, the UID of namespace kube-system.
func (c config) cluster(kube client.Reader) func(context.Context) (string, error) {
	var mu sync.Mutex
	name := c.ClusterName
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if name != "" {
			return name, nil
		}
		var system corev1.Namespace
		if err := kube.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
			return "", fmt.Errorf("get namespace %s, whose UID names the cluster (or set cluster-name): %w", metav1.NamespaceSystem, err)
		}
		name = string(system.UID)
		return name, nil
	}
}

// zoneOf reads the zone of a node from its labels, "" where it has none.
func zoneOf(kube client.Reader) func(context.Context, string) string {
	return func(ctx context.Context, node string) string {
		var nodes corev1.NodeList
		if err := kube.List(ctx, &nodes, client.MatchingFields{"metadata.name": node}); err != nil {
			return ""
		}
		for _, n := range nodes.Items {
			for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone} {
				if zone := n.Labels[key]; zone != "" {
					return zone
				}
			}
		}
		return ""
	}
}
