package ec2tags

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	fake "github.com/medic/cht-backup/integration/ec2"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// Through the SDK's own chain and over HTTP, as a user's machine does it.
func TestReadFromEC2(t *testing.T) {
	cloud := fake.New(fake.Options{})
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_EC2": server.URL, "AWS_ACCESS_KEY_ID": fake.AccessKey("111122223333"), "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	const pages = 2*pageSize + 100
	for i := range pages {
		bears := map[string]string{tags.BackupUID: fmt.Sprint(i), tags.Namespace: "medic"}
		if i == 0 {
			bears[tags.Namespace] = "other"
		}
		if _, err := cloud.AddSnapshot(fake.Snapshot{Region: "eu-west-1", Account: "111122223333", SizeGiB: 8, VolumeID: "vol-0123456789abcdef0", Tags: bears}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []fake.Snapshot{{Region: "eu-west-1", Account: "111122223333"}, // not ours
		{Region: "eu-west-1", Account: "999922223333", Tags: map[string]string{tags.BackupUID: "x"}, SharedWith: []string{"111122223333"}}, // another's, shared
		{Region: "eu-central-1", Account: "111122223333", Tags: map[string]string{tags.BackupUID: "x"}}} {
		if _, err := cloud.AddSnapshot(s); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Read(t.Context(), "eu-west-1", "")
	if err != nil || len(all) != pages {
		t.Fatalf("%d snapshots, %v", len(all), err)
	}
	if s := all[1]; s.Account != "111122223333" || s.State != "completed" || s.SizeGiB != 8 || s.Region != "eu-west-1" || s.VolumeID != "vol-0123456789abcdef0" || s.Tags[tags.BackupUID] == "" {
		t.Errorf("%+v", s)
	}
	if one, err := Read(t.Context(), "eu-west-1", "other"); err != nil || len(one) != 1 {
		t.Errorf("%d snapshots of one namespace, %v", len(one), err)
	}
	cloud.AddFault(fake.Fault{Action: "DescribeSnapshots", Error: &fake.Failure{Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized"}})
	if _, err := Read(t.Context(), "eu-west-1", ""); !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "ec2:DescribeSnapshots") {
		t.Errorf("without the right: %v", err)
	}
}
