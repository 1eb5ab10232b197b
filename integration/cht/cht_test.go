package cht

import (
	"net/url"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht/couch"
)

func objectsOf(t *testing.T, change func(*Options)) map[string]client.Object {
	t.Helper()
	o := Defaults("ns", Images{CouchDB: "couch", HAProxy: "haproxy", Tools: "tools"})
	change(&o)
	all, err := Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]client.Object{}
	for _, one := range all {
		byName[strings.TrimPrefix(strings.ToLower(typeName(one)), "*v1.")+"/"+one.GetName()] = one
	}
	if len(byName) != len(all) {
		t.Errorf("%d objects have %d names", len(all), len(byName))
	}
	return byName
}

func typeName(o client.Object) string {
	switch o.(type) {
	case *corev1.Secret:
		return "secret"
	case *corev1.Service:
		return "service"
	case *appsv1.Deployment:
		return "deployment"
	case *corev1.PersistentVolumeClaim:
		return "claim"
	case *corev1.PersistentVolume:
		return "volume"
	}
	return "other"
}

func environmentOf(t *testing.T, o client.Object) map[string]string {
	t.Helper()
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		t.Fatalf("%T is no deployment", o)
	}
	env := map[string]string{}
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
		if v.ValueFrom != nil && v.ValueFrom.ConfigMapKeyRef != nil {
			env[v.Name] = "configmap"
		}
	}
	return env
}

// What the charts call things; a change here is a change of what a CHT is.
func TestNamesOfBothForms(t *testing.T) {
	cluster := objectsOf(t, func(*Options) {})
	for _, name := range []string{"deployment/cht-couchdb-1", "deployment/cht-couchdb-3", "service/couchdb-2", "claim/couchdb-3-claim0", "secret/cht-couchdb-credentials",
		"other/couchdb-servers-configmap", "deployment/cht-haproxy", "service/haproxy", "deployment/cht-haproxy-healthcheck", "service/healthcheck",
		"deployment/cht-api", "service/api", "deployment/cht-sentinel", "deployment/upgrade-service", "service/upgrade-service", "other/cht-upgrade-service-user",
		"other/deployment-manager", "other/api-ingress"} {
		if cluster[name] == nil {
			t.Errorf("cluster: no %s", name)
		}
	}
	first, second := environmentOf(t, cluster["deployment/cht-couchdb-1"]), environmentOf(t, cluster["deployment/cht-couchdb-2"])
	if first["CLUSTER_PEER_IPS"] != "configmap" || first["COUCHDB_SYNC_ADMINS_NODE"] != "" || first["SVC_NAME"] != "couchdb-1.ns.svc.cluster.local" {
		t.Errorf("environment of node 1: %v", first)
	}
	if second["CLUSTER_PEER_IPS"] != "" || second["COUCHDB_SYNC_ADMINS_NODE"] != "configmap" || second["NODE_COUNT"] != "3" {
		t.Errorf("environment of node 2: %v", second)
	}
	single := objectsOf(t, func(o *Options) { o.Nodes, o.Components = 1, Components{} })
	for _, name := range []string{"deployment/cht-couchdb", "service/couchdb", "claim/couchdb-claim0"} {
		if single[name] == nil {
			t.Errorf("single: no %s", name)
		}
	}
	if len(single) != 5 {
		t.Errorf("single: %d objects, want 5", len(single))
	}
	if env := environmentOf(t, single["deployment/cht-couchdb"]); env["NODE_COUNT"] != "" || env["SVC_NAME"] != "couchdb.ns.svc.cluster.local" {
		t.Errorf("environment of the single node: %v", env)
	}
}

func TestConfigInImage(t *testing.T) {
	d, ok := objectsOf(t, func(o *Options) { o.ConfigInImage = true })["deployment/cht-couchdb-2"].(*appsv1.Deployment)
	if !ok {
		t.Fatal("no deployment")
	}
	if mounts := d.Spec.Template.Spec.Containers[0].VolumeMounts; len(mounts) != 1 || mounts[0].MountPath != "/opt/couchdb/data" {
		t.Errorf("%+v", mounts)
	}
}

func TestDataMounts(t *testing.T) {
	for subPath, want := range map[string]string{"data": "data", "": "", "storage/medic-core/couchdb/data": "storage/medic-core/couchdb/data", "disk%d/data": "disk2/data"} {
		d, ok := objectsOf(t, func(o *Options) { o.DataSubPath, o.Nouveau = subPath, true })["deployment/cht-couchdb-2"].(*appsv1.Deployment)
		if !ok {
			t.Fatal("no deployment")
		}
		mounts := d.Spec.Template.Spec.Containers[0].VolumeMounts
		if len(mounts) != 2 || mounts[0].SubPath != want || mounts[1].SubPath != "local.d" || mounts[0].Name != mounts[1].Name {
			t.Errorf("subPath %q: %+v", subPath, mounts)
		}
		if nouveau := d.Spec.Template.Spec.Containers[1]; nouveau.VolumeMounts[0].SubPath != "data" {
			t.Errorf("nouveau mounts %+v", nouveau.VolumeMounts)
		}
	}
}

func TestStaticVolumes(t *testing.T) {
	source := corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "vol-1"}}
	all := objectsOf(t, func(o *Options) {
		o.StaticVolumes = []StaticVolume{{Source: source}, {Source: source}, {Source: source}}
	})
	claim, ok := all["claim/couchdb-2-claim0"].(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.VolumeName != "couchdb-pv-ns-2" || claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != "" {
		t.Errorf("claim: %+v", claim)
	}
	if all["volume/couchdb-pv-ns-2"] == nil {
		t.Error("no volume couchdb-pv-ns-2")
	}
	if _, err := Objects(Options{Namespace: "ns", Nodes: 3, User: "u", Password: "p", StaticVolumes: []StaticVolume{{}}, Images: Images{CouchDB: "c", Tools: "t"}}); err == nil {
		t.Error("one static volume for three nodes was accepted")
	}
}

// The password must come out of COUCH_URL as it went in, whatever is in it.
func TestCouchURLCarriesThePassword(t *testing.T) {
	for _, password := range []string{"plain", "p@ss/w:rd?%+&#1 2", "a+b c%20", `"\'$`} {
		secret, ok := objectsOf(t, func(o *Options) { o.Password = password })["secret/cht-couchdb-credentials"].(*corev1.Secret)
		if !ok {
			t.Fatal("no secret")
		}
		raw := secret.StringData["COUCH_URL"]
		if _, err := url.Parse(raw); err != nil {
			t.Errorf("COUCH_URL %q: %v", raw, err)
		}
		base, user, got, db, err := couch.FromEnvironment(raw)
		if err != nil || got != password || user != "medic" || db != "medic" || base != "http://haproxy.ns.svc.cluster.local:5984" {
			t.Errorf("COUCH_URL %q: %s %s %q %s, %v", raw, base, user, got, db, err)
		}
	}
}
