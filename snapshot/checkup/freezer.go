package checkup

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/cht"
)

// freezerTried is the pod's name in a dry run; no pod of that name ever runs.
const freezerTried = "cht-freezer-checkup"

// Admits asks the API server, by a dry run that leaves nothing, whether the freezer
// pod would be admitted in a namespace. refusal is what admission says against it; an
// error tells that it is not known, IsForbidden that whoever asks may create no pods.
func Admits(ctx context.Context, c client.Client, namespace, image string) (refusal string, err error) {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "checkup"}}
	pod := snapshot.FreezerPod(b, cht.Node{Service: "couchdb", Claim: cht.Claim{Name: "couchdb-claim0"}}, image)
	pod.Name, pod.OwnerReferences = freezerTried, nil // there is no Backup
	err = c.Create(ctx, pod, client.DryRunAll)
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return "", nil
	case apierrors.IsForbidden(err) && !mayNot(err), apierrors.IsInvalid(err):
		return err.Error(), nil
	}
	return "", err
}

// mayNot tells the refusal of a right from one of admission; both are Forbidden.
func mayNot(err error) bool { return strings.Contains(err.Error(), "cannot create resource") }

// FreezerNext is what to do where the freezer is not admitted.
const FreezerNext = "nothing, if writes may be held by Pause (2 s at most): quiesce Auto takes it then; for Freeze, label the namespace pod-security.kubernetes.io/enforce=privileged, or exempt it in whatever else refuses the pod"

func freezer(ctx context.Context, c client.Client, namespace, image string) Check {
	refusal, err := Admits(ctx, c, namespace, image)
	switch {
	case apierrors.IsNotFound(err):
		return unknown(FreezerAdmitted, namespace, "create the namespace, or take it out of the setting namespaces", err)
	case err != nil:
		return unknown(FreezerAdmitted, namespace, "see what the message says; a backup tries it anew", err)
	case refusal != "":
		return fail(FreezerAdmitted, namespace, FreezerNext, "the freezer pod is not admitted, so that quiesce Freeze fails and Auto takes Pause: %s", refusal)
	}
	return pass(FreezerAdmitted, namespace, "the freezer pod would be admitted")
}
