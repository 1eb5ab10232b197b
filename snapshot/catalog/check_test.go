package catalog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestCheck(t *testing.T) {
	if err := record("uid-1").Check(); err != nil {
		t.Fatal(err)
	}
	ebs := func(change func(*api.EBSVolume)) func(*Record) {
		return func(r *Record) {
			v := &api.EBSVolume{VolumeID: "vol-0123456789abcdef0", Region: "eu-west-1", Zone: "eu-west-1a", SizeGiB: 100}
			change(v)
			r.Nodes[0].EBS, r.Nodes[0].Method = v, api.MethodEBS
		}
	}
	file := func(change func(*api.FileVolume)) func(*Record) {
		return func(r *Record) {
			f := &api.FileVolume{Repository: "0a1b2c", Tree: "20260701T120000.000000Z_0e5f-7_couchdb-1", Files: 7, Size: resource.NewQuantity(7, resource.BinarySI), Complete: true}
			change(f)
			r.Nodes[0].File, r.Nodes[0].Method, r.Nodes[0].SnapshotHandle, r.Nodes[0].Driver = f, api.MethodFile, "", ""
		}
	}
	compose := func(r *Record) *Compose {
		r.Namespace, r.Objects = "a.compose", nil
		r.Compose = &Compose{Project: "a", Dir: "/srv", Host: "h", Files: []ComposeFile{{Path: "compose/.env", Mode: 0o600, Secret: ComposeFilesSecret, Key: "00-env"}}, Nodes: []ComposeNode{{Node: "couchdb", Service: "couchdb"}}}
		return r.Compose
	}
	object := func(text string) func(*Record) {
		return func(r *Record) { r.Objects = append(r.Objects, json.RawMessage(text)) }
	}
	for name, tt := range map[string]struct {
		change func(*Record)
		says   string // "": nothing
	}{
		"an EBS volume":         {ebs(func(*api.EBSVolume) {}), ""},
		"a data path deep down": {func(r *Record) { r.Nodes[0].DataSubPath = "storage/medic-core/couchdb/data" }, ""},
		"files":                 {file(func(*api.FileVolume) {}), ""},
		"files on their way":    {file(func(f *api.FileVolume) { f.Tree, f.Complete = "", false }), ""},
		"files beside":          {func(r *Record) { file(func(*api.FileVolume) {})(r); r.Nodes[0].Method = api.MethodCSI }, ""},
		"files nowhere":         {func(r *Record) { r.Nodes[0].Method = api.MethodFile }, "where the files are"},
		"a repository":          {file(func(f *api.FileVolume) { f.Repository = "../heads" }), "repository"},
		"a tree":                {file(func(f *api.FileVolume) { f.Tree = "20260701T120000.000000Z_../../x_couchdb" }), "tree"},
		"no tree":               {file(func(f *api.FileVolume) { f.Tree = "" }), "tree"},
		"files' size":           {file(func(f *api.FileVolume) { f.Size = resource.NewQuantity(-1, resource.BinarySI) }), "no size"},
		"dropped files":         {file(func(f *api.FileVolume) { f.Dropped = []string{"a\x1b[2J"} }), "cannot be shown"},
		"a project":             {func(r *Record) { compose(r) }, ""},
		"a project's namespace": {func(r *Record) { r.Namespace, r.Objects = "a.compose", nil }, "does not go with"},
		"two dots":              {func(r *Record) { compose(r); r.Namespace = "a.b.compose" }, "namespace"},
		"a project of none":     {func(r *Record) { compose(r); r.Namespace = "a" }, "does not go with"},
		"a file out":            {func(r *Record) { compose(r).Files[0].Path = "../../etc/passwd" }, "within the project"},
		"a file at the root":    {func(r *Record) { compose(r).Files[0].Path = "/etc/passwd" }, "within the project"},
		"a file's mode":         {func(r *Record) { compose(r).Files[0].Mode = 0o4755 }, "mode"},
		"a file elsewhere":      {func(r *Record) { compose(r).Files[0].Secret = "other" }, "Secret"},
		"another node":          {func(r *Record) { compose(r).Nodes[0].Node = "couchdb-7" }, "record's"},
		"an object elsewhere":   {object(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"x"}}`), "namespace"},
		"by another case":       {object(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"x"},"Metadata":{"namespace":"cht-kilifi"}}`), "namespace"},
		"an object twice":       {object(string(record("u").Objects[0])), "twice"},
		"an object's name":      {object(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"../a"}}`), "no name"},
		"a namespace":           {func(r *Record) { r.Namespace = "../x" }, "namespace"},
		"a name":                {func(r *Record) { r.Name = "a_b" }, "name"},
		"a UID":                 {func(r *Record) { r.UID = "a/b" }, "uid"},
		"a data path out":       {func(r *Record) { r.Nodes[0].DataSubPath = "../../etc" }, "leads out"},
		"a data path in":        {func(r *Record) { r.Nodes[0].DataSubPath = "data/../../../etc" }, "leads out"},
		"a data path from /":    {func(r *Record) { r.Nodes[0].DataSubPath = "/etc" }, "not within"},
		"a config path":         {func(r *Record) { r.Nodes[0].ConfigSubPath = "a\x00b" }, "no path"},
		"a claim":               {func(r *Record) { r.Nodes[0].Claim = "a/b" }, "claim"},
		"a claim's label":       {func(r *Record) { r.Nodes[0].ClaimLabels = map[string]string{"a b": "c"} }, "label"},
		"a service":             {func(r *Record) { r.Nodes[0].Service = "a b" }, "service"},
		"an Erlang name":        {func(r *Record) { r.Nodes[0].ErlangName = "couchdb@a\n-setcookie x" }, "erlangName"},
		"a driver":              {func(r *Record) { r.Nodes[0].Driver = "a/b" }, "driver"},
		"a handle":              {func(r *Record) { r.Nodes[0].SnapshotHandle = "a\x1b[2J" }, "cannot be shown"},
		"a method":              {func(r *Record) { r.Nodes[0].Method = "Tape" }, "method"},
		"a size":                {func(r *Record) { r.Nodes[0].CapacityBytes = -1 }, "no size"},
		"a partition":           {func(r *Record) { r.Nodes[0].Partition = "../1" }, "partition"},
		"a node twice":          {func(r *Record) { r.Nodes = append(r.Nodes, r.Nodes[0]) }, "twice"},
		"an EBS volume's id":    {ebs(func(v *api.EBSVolume) { v.VolumeID = "vol-1 --force" }), "volume"},
		"an EBS Region":         {ebs(func(v *api.EBSVolume) { v.Region = "evil.example/" }), "Region"},
		"an EBS size":           {ebs(func(v *api.EBSVolume) { v.SizeGiB = 1 << 30 }), "GiB"},
		"a database's name":     {func(r *Record) { m := r.Before.ShardMaps["medic"]; m.ID = "../x"; r.Before.ShardMaps["../x"] = m }, "no name of a database"},
		"a shard map's name":    {func(r *Record) { m := r.Before.ShardMaps["medic"]; m.ID = "other"; r.Before.ShardMaps["medic"] = m }, "is that of"},
		"a shard's place":       {func(r *Record) { r.Before.ShardMaps["medic"].ByNode["couchdb@evil"] = nil }, "names"},
		"half a shard map":      {func(r *Record) { delete(r.Before.ShardMaps["medic"].ByRange, "00000000-ffffffff") }, "by one half of the map and not by the other"},
		"a shard's range":       {func(r *Record) { r.Before.ShardMaps["medic"].ByRange["../x"] = nil }, "no range"},
		"counts":                {func(r *Record) { c := r.Before.Counts["medic"]; c.Documents = -1; r.Before.Counts["medic"] = c }, "counts"},
		"a consistency":         {func(r *Record) { r.Consistency = "Perfect" }, "consistency"},
		"an image":              {func(r *Record) { r.Images = []Image{{Image: "a\nb"}} }, "image"},
		"a release":             {func(r *Record) { r.Release = &Release{Chart: strings.Repeat("x", 300)} }, "release"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record("uid-1")
			tt.change(&r)
			err := r.Check()
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What does not fit is an error, and never read in part.
func TestDecodeIsBounded(t *testing.T) {
	pack := func(text string) []byte {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		if _, err := zip.Write([]byte(text)); errors.Join(err, zip.Close()) != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	packed, err := Encode(record("uid-1"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Unpack(packed, maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(plain))
	for name, tt := range map[string]struct {
		packed []byte
		most   int64
		says   string
	}{
		"just fits":       {packed, size, ""},
		"a byte too many": {packed, size - 1, "more than"},
		"deep":            {pack(strings.Repeat("[", 200)), maxRecord, "nested deeper"},
		"many":            {pack("[" + strings.Repeat("0,", maxValues) + "0]"), maxRecord, "more than"},
		"newer":           {pack(`{"format":2,"nodes":"another form"}`), maxRecord, "newer cht-backup"},
		"more after it":   {pack(string(plain) + "{}"), maxRecord, "decode"},
		"no gzip":         {plain, maxRecord, "unpack"},
		"cut short":       {packed[:len(packed)-9], maxRecord, "unpack"},
	} {
		if _, err := Decode(tt.packed, tt.most); (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
