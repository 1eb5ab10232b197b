package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	semver "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/snapshot/await"
)

const (
	// crdVersion is the annotation that says from which version of the chart a
	// CustomResourceDefinition is.
	crdVersion = "backup.communityhealthtoolkit.org/crd-version"
	// crdOwner is who owns their fields.
	crdOwner = client.FieldOwner("cht-backup-crds")
	// crdGroup: the rights to write are for these, and a wrong directory shall say so.
	crdGroup = "backup.communityhealthtoolkit.org"
)

// applyCRDs brings the cluster's CustomResourceDefinitions up to those in dir, which
// are of version given, and waits until they are served.
func applyCRDs(ctx context.Context, c client.WithWatch, dir, given string, out io.Writer) error {
	mine, err := semver.ParseSemantic(given)
	if err != nil {
		return fmt.Errorf("--version %q is no version such as 1.2.3: %w", given, err)
	}
	crds, err := readCRDs(dir)
	if err != nil {
		return err
	}
	for _, crd := range crds {
		said, err := applyCRD(ctx, c, crd, mine)
		if err != nil {
			return fmt.Errorf("CustomResourceDefinition %s: %w", crd.GetName(), err)
		}
		if _, err := fmt.Fprintf(out, "%s: %s\n", crd.GetName(), said); err != nil {
			return err
		}
	}
	for _, crd := range crds {
		if err := established(ctx, c, crd.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func readCRDs(dir string) ([]*unstructured.Unstructured, error) {
	// A mounted ConfigMap has links and folders of its own beside, with a dot before.
	files, err := filepath.Glob(filepath.Join(dir, "[^.]*.yaml"))
	if err != nil {
		return nil, err
	}
	var crds []*unstructured.Unstructured
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &crd.Object); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if crd.GetKind() != "CustomResourceDefinition" || crd.GetAPIVersion() != "apiextensions.k8s.io/v1" || !strings.HasSuffix(crd.GetName(), "."+crdGroup) {
			return nil, fmt.Errorf("%s is %s %s %q, not a CustomResourceDefinition of %s", file, crd.GetAPIVersion(), crd.GetKind(), crd.GetName(), crdGroup)
		}
		crds = append(crds, crd)
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("there are no *.yaml in %q", dir)
	}
	return crds, nil
}

// mostAttempts are how often it is begun anew when others write at the same time, the API
// server among them, which notes what it has taken up.
const (
	mostAttempts    = 20
	betweenAttempts = 100 * time.Millisecond
)

// applyCRD makes one what it is here, unless a newer one is there. Others may do
// likewise at the same time: what was looked at must still be so when it is written.
func applyCRD(ctx context.Context, c client.Client, crd *unstructured.Unstructured, mine *semver.Version) (said string, err error) {
	for range mostAttempts {
		there := &apiextensionsv1.CustomResourceDefinition{}
		err := c.Get(ctx, client.ObjectKeyFromObject(crd), there)
		if client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("get what is there: %w", err)
		}
		absent := err != nil
		if !absent {
			if has := there.Annotations[crdVersion]; newer(has, mine) {
				return fmt.Sprintf("version %s is there, newer than %s, and stays", has, mine), nil
			}
			if there.DeletionTimestamp != nil {
				return "", errors.New("it is being deleted, with all that is stored of it; what is written now would go too. When it is gone, try again")
			}
		}
		said, err = writeCRD(ctx, c, crd, there, mine, absent)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return said, err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(betweenAttempts):
		}
	}
	return "", fmt.Errorf("others write it all the time; gave up after %d attempts", mostAttempts)
}

func writeCRD(ctx context.Context, c client.Client, crd *unstructured.Unstructured, there *apiextensionsv1.CustomResourceDefinition, mine *semver.Version, absent bool) (said string, err error) {
	want := crd.DeepCopy()
	unstructured.RemoveNestedField(want.Object, "status")
	annotations := want.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[crdVersion] = mine.String()
	want.SetAnnotations(annotations)
	if absent {
		if err := c.Create(ctx, want, crdOwner); err != nil {
			return "", fmt.Errorf("create it: %w", err)
		}
		return "created, version " + mine.String(), nil
	}
	lost, err := lostVersions(want, there)
	if err != nil {
		return "", err
	}
	if len(lost) > 0 {
		return "", fmt.Errorf("objects are stored as version %s, which this chart does not know: see that all are stored anew as a later one first", strings.Join(lost, ", "))
	}
	// As unstructured as it was read: a field that this program does not know counts too.
	want.SetResourceVersion(there.ResourceVersion)
	want.SetManagedFields(nil)
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(want), crdOwner, client.ForceOwnership); err != nil {
		return "", fmt.Errorf("apply it: %w", err)
	}
	if want.GetResourceVersion() == there.ResourceVersion {
		return "as it was, version " + mine.String(), nil
	}
	if was := there.Annotations[crdVersion]; was != "" && was != mine.String() {
		return fmt.Sprintf("from version %s to %s", was, mine), nil
	}
	return "brought up to version " + mine.String(), nil
}

// newer tells whether a version that is there is later than mine. What says nothing, or
// nothing that can be read, is as old as can be.
func newer(there string, mine *semver.Version) bool {
	v, err := semver.ParseSemantic(there)
	return err == nil && mine.LessThan(v)
}

// lostVersions are those that objects are stored in and that the new definition has
// no more: the API server would refuse it, with less to say.
func lostVersions(want *unstructured.Unstructured, there *apiextensionsv1.CustomResourceDefinition) ([]string, error) {
	text, err := json.Marshal(want.Object)
	if err != nil {
		return nil, err
	}
	var typed apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal(text, &typed); err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	var lost []string
	for _, stored := range there.Status.StoredVersions {
		if !slices.ContainsFunc(typed.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == stored }) {
			lost = append(lost, stored)
		}
	}
	return lost, nil
}

// established waits until the API server serves a kind.
func established(ctx context.Context, c client.WithWatch, name string) error {
	var list apiextensionsv1.CustomResourceDefinitionList
	err := await.List(ctx, c, &list, func() (string, error) {
		if len(list.Items) == 0 {
			return "", errors.New("it was deleted meanwhile")
		}
		waitingFor := "the API server to take it up"
		for _, condition := range list.Items[0].Status.Conditions {
			is := condition.Status == apiextensionsv1.ConditionTrue
			switch {
			case condition.Type == apiextensionsv1.Established && is:
				return "", nil
			case condition.Type == apiextensionsv1.NamesAccepted && !is:
				waitingFor = fmt.Sprintf("its names to be free (%s: %s)", condition.Reason, condition.Message)
			}
		}
		return waitingFor, nil
	}, client.MatchingFields{"metadata.name": name})
	if err != nil {
		return fmt.Errorf("CustomResourceDefinition %s: %w", name, err)
	}
	return nil
}
