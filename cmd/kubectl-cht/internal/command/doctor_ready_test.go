package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/cht"
)

// someCHT is a CHT of one node, its volume of a driver, or of the host for "".
func someCHT(driver string) []client.Object {
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "medic", Name: name, Labels: labels}
	}
	label := map[string]string{cht.ServiceLabel: "couchdb"}
	pod := &corev1.Pod{ObjectMeta: meta("couchdb-0", label), Spec: corev1.PodSpec{NodeName: "node-1",
		Containers: []corev1.Container{{Name: "couchdb", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: cht.DataMount, SubPath: "data"}}}},
		Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "couchdb-claim0"}}}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	deployment := &appsv1.Deployment{ObjectMeta: meta("cht-couchdb", label)}
	deployment.Spec.Template.Labels = label
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("couchdb-claim0", nil), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}
	volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name}
	volume.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/var/lib/rancher/k3s/storage/x"}
	if driver != "" {
		volume.Spec.HostPath, volume.Spec.CSI = nil, &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "h"}
	}
	secret := &corev1.Secret{ObjectMeta: meta(cht.CredentialsSecret, nil), Data: map[string][]byte{"COUCHDB_USER": []byte("medic"), "COUCHDB_PASSWORD": []byte("p")}}
	return []client.Object{pod, deployment, claim, volume, secret}
}

// ready is a cluster with a controller that has looked at itself, a CHT, a class for
// its driver, a schedule and a good backup.
func ready(t *testing.T, driver string, more ...client.Object) []client.Object {
	t.Helper()
	controller := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "cht-backup", Labels: map[string]string{"app.kubernetes.io/name": "cht-backup"}}, Status: appsv1.DeploymentStatus{AvailableReplicas: 1}}
	report, err := checkup.Report{Format: checkup.Format, Version: "test", Time: noon.Add(-time.Minute), Catalog: "s3://b", Checks: []checkup.Check{{Check: checkup.CatalogReachable, OK: true, Message: "it answers"}}}.ConfigMap(system, checkup.Name)
	if err != nil {
		t.Fatal(err)
	}
	b := backupIn(api.PhaseCompleted, "11111111-bbbb")
	cut := metav1.NewMicroTime(noon.Add(-time.Hour))
	b.Status.CutTime, b.Status.CompletionTime = &cut, &cut
	b.Status.Conditions = condition(metav1.ConditionTrue, api.ReasonCompleted, "done")
	b.Status.Verified = &api.VerifiedBy{Level: api.VerifySample, Time: metav1.NewMicroTime(noon)}
	b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionTrue, Reason: "Verified"})
	s := scheduleIn("medic", "every-night")
	s.CreationTimestamp, s.Status.ObservedGeneration = metav1.NewTime(noon.Add(-time.Hour)), 1
	s.Spec.Schedule = "0 2 * * *"
	next := metav1.NewTime(noon.Add(14 * time.Hour))
	s.Status.Backups.NextTime = &next
	all := append(someCHT(driver), controller, report, b, s, recordOf(t, "medic", "nightly", "11111111-bbbb", noon), snapshotOf("nightly", "11111111-bbbb", "couchdb"), contentOf("nightly", "11111111-bbbb", "couchdb"),
		&snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "loop"}, Driver: "loop"}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}})
	for _, o := range all { // the snapshot has been taken up
		if v, is := o.(*snapv1.VolumeSnapshot); is {
			name := "c"
			v.Status = &snapv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: &name}
		}
	}
	return append(all, more...)
}

// rights answers who asks for his own, and refuses what is denied by its kind.
func rights(denied ...string) interceptor.Funcs {
	forbidden := func(what string) error {
		for _, d := range denied {
			if strings.Contains(what, d) {
				return apierrors.NewForbidden(schema.GroupResource{Resource: d}, "", errors.New(`User "u" cannot create resource`))
			}
		}
		return nil
	}
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			switch o := o.(type) {
			case *authorizationv1.SelfSubjectAccessReview:
				o.Status.Allowed = !slices.Contains(denied, o.Spec.ResourceAttributes.Verb+" "+o.Spec.ResourceAttributes.Resource)
				return nil
			case *corev1.Pod:
				return forbidden("create pods")
			}
			return c.Create(ctx, o, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := forbidden(fmt.Sprintf("get %T %s", o, o.GetObjectKind().GroupVersionKind().Kind)); err != nil {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if err := forbidden(fmt.Sprintf("list %T %s", list, list.GetObjectKind().GroupVersionKind().Kind)); err != nil {
				return err
			}
			return c.List(ctx, list, opts...)
		},
	}
}

func TestDoctorOfACHTThatIsReady(t *testing.T) {
	w := newWorld(t, rights(), ready(t, "loop")...)
	w.mustRun(t, exit.Good, nil, "doctor")
	if got := w.out.String(); strings.TrimSpace(got) != "nothing is wrong" && !strings.Contains(got, "nothing is wrong with what could be looked at") || strings.Contains(got, "Problem") {
		t.Errorf("%s%s", got, w.er)
	}
	w.mustRun(t, exit.Good, nil, "doctor", "-A")
	w.mustRun(t, exit.Usage, []string{`--check "Sotrage" is none; there are: Controller, Serving`}, "doctor", "--check", "Sotrage")
}

// With a catalog its files are copied, and that is no problem.
func TestDoctorOfACHTOnTheHostsDisk(t *testing.T) {
	w := newWorld(t, rights(), ready(t, "")...)
	w.mustRun(t, exit.Good, nil, "doctor")
	if w.mustRun(t, exit.Good, nil, "doctor", "--check", "Storage"); !strings.Contains(w.out.String(), "are copied into the catalog") {
		t.Errorf("%s", w.out)
	}
}

func TestDoctorOfACHTOnTheHostsDiskWithoutACatalog(t *testing.T) {
	w := newWorld(t, rights(), uncataloged(t, ready(t, ""))...)
	w.mustRun(t, exit.Trouble, []string{"1 problem"}, "doctor")
	if got := w.out.String(); !strings.Contains(got, "claim medic/couchdb-claim0: the volume of couchdb is a hostPath volume") || !strings.Contains(got, "Storage that cannot snapshot") {
		t.Errorf("%s", got)
	}
	w.mustRun(t, exit.Good, nil, "doctor", "--check", "Freezer,Schedules")
	w.mustRun(t, exit.Trouble, nil, "doctor", "-o", "json")
	if r := decodeOut[struct {
		Problems, Warnings int
		Findings           []struct{ Check, Severity string }
	}](t, w); r.Problems != 1 || r.Findings[0].Check != "Storage" {
		t.Errorf("%+v", r)
	}
}

// A tenant sees his namespace's Backups and pods, and neither volumes, nor classes, nor
// nodes, nor the controller's namespace. What he sees is judged nonetheless.
func TestDoctorForATenant(t *testing.T) {
	hidden := []string{"PersistentVolume ", "PersistentVolumeList", "VolumeSnapshotContent", "VolumeSnapshotClass", "NodeList", "CSINodeList", "ConfigMapList", "NamespaceList", "get *v1.Namespace", "SecretList", "DeploymentList Deployment", "create pods", "create restores", "CustomResourceDefinition"}
	objects := ready(t, "loop")
	objects = slices.DeleteFunc(objects, func(o client.Object) bool { _, is := o.(*api.BackupSchedule); return is })
	w := newWorld(t, rights(hidden...), objects...)
	w.mustRun(t, exit.Trouble, []string{"1 problem"}, "doctor")
	got := w.out.String() + w.er.String()
	for _, want := range []string{"no schedule (NoSchedule)", "you may not restore or drill", "the CHT of medic were not looked at", "VolumeSnapshotClasses were not looked at: you may not", "the controller's check-up were not looked at"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "bound to volume pv, which does not exist") {
		t.Errorf("what is hidden is taken for gone:\n%s", got)
	}
}

func TestDoctorWhereTheFreezerIsRefused(t *testing.T) {
	hooks := rights()
	create := hooks.Create
	hooks.Create = func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if p, is := o.(*corev1.Pod); is {
			var options client.CreateOptions
			if options.ApplyOptions(opts); !slices.Contains(options.DryRun, metav1.DryRunAll) || p.Spec.Containers[0].SecurityContext.Capabilities.Add[0] != "SYS_ADMIN" {
				t.Errorf("no trial of a freezer: %+v", options)
			}
			return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, p.Name, errors.New(`violates PodSecurity "baseline:latest"`))
		}
		return create(ctx, c, o, opts...)
	}
	w := newWorld(t, hooks, ready(t, "loop")...)
	w.mustRun(t, exit.Good, nil, "doctor")
	if got := w.out.String(); !strings.Contains(got, `violates PodSecurity "baseline:latest"`) || !strings.Contains(got, "Auto takes Pause") {
		t.Errorf("%s", got)
	}
}

// uncataloged takes the catalog out of the controller's report.
func uncataloged(t *testing.T, objects []client.Object) []client.Object {
	t.Helper()
	for _, o := range objects {
		m, is := o.(*corev1.ConfigMap)
		if !is || m.Labels[checkup.Label] == "" {
			continue
		}
		report, err := checkup.Read(m)
		if err != nil {
			t.Fatal(err)
		}
		report.Catalog = ""
		without, err := report.ConfigMap(m.Namespace, m.Name)
		if err != nil {
			t.Fatal(err)
		}
		m.Data = without.Data
	}
	return objects
}
