package restore

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

// hostileRecord has the objects of a usual one, and more.
func hostileRecord(t *testing.T, from string, more ...string) catalog.Record {
	t.Helper()
	r := recordOf(t, "u1")
	r.ImportedFrom = from
	for _, text := range more {
		raw, err := json.Marshal(object(t, text).Object)
		if err != nil {
			t.Fatal(err)
		}
		r.Objects = append(r.Objects, raw)
	}
	return r
}

// Whatever a record holds, a restore makes only what a backup keeps.
func TestHostileObjectsArePassedOver(t *testing.T) {
	b := newBench(t, gp3())
	record := hostileRecord(t, "s3://evil/cht",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: cluster-wide}, roleRef: {kind: ClusterRole, name: cluster-admin}, subjects: [{kind: User, name: eve}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: eve, namespace: cht}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: eve}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: everyone, namespace: cht}, roleRef: {kind: Role, name: r}, subjects: [{kind: Group, name: "system:unauthenticated"}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: by-cluster-role, namespace: cht}, roleRef: {kind: ClusterRole, name: cht-backup-controller}, subjects: [{kind: ServiceAccount, name: a, namespace: cht}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: mixed, namespace: cht}, roleRef: {kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: a, namespace: cht}, {kind: ServiceAccount, name: eve, namespace: hers}, {kind: User, name: eve}]}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: token, namespace: cht, annotations: {kubernetes.io/service-account.name: default}}, type: kubernetes.io/service-account-token}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: release, namespace: cht}, type: helm.sh/release.v1}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: cht, ownerReferences: [{apiVersion: v1, kind: Node, name: n, uid: u}]}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: marked, namespace: cht, finalizers: [example.org/never], labels: {backup.communityhealthtoolkit.org/role: copier}}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: pod, namespace: cht}, spec: {containers: [{name: c, image: i}]}}`,
		`{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: hook}}`)
	if _, err := b.Records.Put(t.Context(), record, []string{target}); err != nil {
		t.Fatal(err)
	}
	w, err := b.load(t.Context(), restoreOf(live))
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, o := range w.target {
		made = append(made, o.GetKind()+"/"+o.GetName())
		switch o.GetName() {
		case "mixed":
			if subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects"); len(subjects) != 1 || subjects[0].(map[string]any)["name"] != "a" || subjects[0].(map[string]any)["namespace"] != target {
				t.Errorf("it lets in %v", subjects)
			}
		case "marked":
			if len(o.GetFinalizers()) > 0 || o.GetLabels()[api.RoleLabel] != "" {
				t.Errorf("finalizers %v, labels %v", o.GetFinalizers(), o.GetLabels())
			}
		}
	}
	want := "ServiceAccount/cht-upgrade-service-user Secret/cht-couchdb-credentials ConfigMap/marked RoleBinding/mixed Service/couchdb-1 " +
		"Deployment/cht-couchdb-1 Deployment/cht-couchdb-2 Deployment/cht-api Deployment/cht-sentinel Deployment/cht-haproxy Ingress/api-ingress"
	if got := strings.Join(made, " "); got != want {
		t.Errorf("made %s\nwant %s", got, want)
	}
	said := strings.Join(w.cautions, "\n")
	for _, name := range []string{"RoleBinding eve", "RoleBinding everyone", "RoleBinding by-cluster-role", "Secret token", "Secret release", "ConfigMap owned"} {
		if !strings.Contains(said, name+" of the backup is passed over") {
			t.Errorf("nothing is said of %s", name)
		}
	}
}

// What is no name is refused at once, not asked for again and again.
func TestNamesThatAreNone(t *testing.T) {
	b := newBench(t, gp3())
	b.put("u1", target)
	for _, source := range []api.BackupReference{
		{Namespace: "../kube-system", Name: "nightly"}, {Namespace: "cht/../..", Name: "nightly"}, {Namespace: "cht,other", Name: "nightly"}, {Namespace: "cht", Name: "../../secrets/x"},
		{Namespace: "cht", Name: "nightly\x1b[2J"}, {Namespace: "cht", Name: "nightly", UID: "u1) or (a"}, {Namespace: strings.Repeat("c", 64), Name: "nightly"},
	} {
		_, err := b.findRecord(t.Context(), restoreOf(func(r *api.Restore) { r.Spec.Source = source }))
		if e := reason.Of(err); e == nil || e.Reason != api.ReasonBackupNotFound || !e.Final {
			t.Errorf("%+v: %v", source, err)
		}
	}
}

// Pods of a record from elsewhere get no machine, unless the namespace says so.
func TestForeignPodsAreContained(t *testing.T) {
	const bucket = "s3://evil/cht"
	pods := func(spec string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-extra, namespace: cht}, spec: {template: {metadata: {labels: {cht.service: extra}}, spec: ` + spec + `}}}`
	}
	container := func(more string) string { return pods(`{containers: [{name: c, image: i, ` + more + `}]}`) }
	for name, tt := range map[string]struct{ from, object, level, says string }{
		"nothing of it":         {bucket, container(`securityContext: {runAsUser: 0, capabilities: {add: [CHOWN]}}`), "", ""},
		"privileged":            {bucket, container(`securityContext: {privileged: true}`), "", "privileged"},
		"as baseline says":      {bucket, container(`securityContext: {privileged: true}`), "baseline", "privileged"},
		"a capability":          {bucket, container(`securityContext: {capabilities: {add: [SYS_ADMIN]}}`), "", "SYS_ADMIN"},
		"a port of the machine": {bucket, container(`ports: [{containerPort: 80, hostPort: 10250}]`), "", "hostPort 10250"},
		"proc":                  {bucket, container(`securityContext: {procMount: Unmasked}`), "", "procMount"},
		"its network":           {bucket, pods(`{hostNetwork: true, containers: []}`), "", "hostNetwork"},
		"its processes":         {bucket, pods(`{hostPID: true, containers: []}`), "", "hostPID"},
		"its memory":            {bucket, pods(`{hostIPC: true, containers: []}`), "", "hostIPC"},
		"its files":             {bucket, pods(`{volumes: [{name: root, hostPath: {path: /}}], containers: []}`), "", `hostPath "/"`},
		"before others":         {bucket, pods(`{initContainers: [{name: c, image: i, securityContext: {privileged: true}}], containers: []}`), "", "privileged"},
		"meant":                 {bucket, container(`securityContext: {privileged: true}`), "privileged", ""},
		"of this cluster":       {"", container(`securityContext: {privileged: true}`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: target}}
			if tt.level != "" {
				namespace.Labels = map[string]string{enforceLabel: tt.level}
			}
			b := newBench(t, gp3(), namespace)
			if _, err := b.Records.Put(t.Context(), hostileRecord(t, tt.from, tt.object), []string{target}); err != nil {
				t.Fatal(err)
			}
			w, err := b.load(t.Context(), restoreOf())
			if err != nil {
				t.Fatal(err)
			}
			err = b.contained(t.Context(), w)
			if (err != nil) != (tt.says != "") || err != nil && (!strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "cht-extra")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A claim that a tenant has put in the place of ours, with our label and the name of
// another tenant's volume: what a restore notes as its own volume it deletes when it is
// taken back.
func TestAnotherTenantsVolumeIsNotTaken(t *testing.T) {
	theirs := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-theirs"}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, ClaimRef: &corev1.ObjectReference{Namespace: "victim", Name: "couchdb-claim0", UID: "theirs"}}}
	restore := restoreOf(phase(api.PhaseVolumes), live)
	w := workOf(t, restore)
	restore.Status.Volumes = volumesOf(w.record)
	objects := []client.Object{theirs}
	for _, v := range w.volumes() {
		forged := claim(restore, v)
		forged.UID, forged.Spec.VolumeName, forged.Spec.DataSource = types.UID("forged-"+v.Claim), theirs.Name, nil
		ended := w.preparePod(v, "sleep")
		ended.Status.Phase = corev1.PodSucceeded
		objects = append(objects, forged, ended)
	}
	b := newBench(t, objects...)
	err := b.makeVolumes(t.Context(), w)
	if err == nil || !strings.Contains(err.Error(), "names volume pv-theirs, which is bound to another claim") {
		t.Errorf("%v", err)
	}
	for _, v := range restore.Status.Volumes {
		if v.Volume != "" {
			t.Errorf("%s is noted as %s's", v.Volume, v.Node)
		}
	}
	if err := b.undo(t.Context(), restore); err != nil {
		t.Fatal(err)
	}
	var now corev1.PersistentVolume
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(theirs), &now); err != nil || now.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || len(now.Labels) > 0 || now.Spec.ClaimRef.UID != "theirs" {
		t.Errorf("the other tenant's volume is changed: %+v %+v, %v", now.ObjectMeta, now.Spec, err)
	}
}
