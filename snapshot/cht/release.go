package cht

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	// releaseAnnotation is Helm's own, on everything that it made.
	releaseAnnotation = "meta.helm.sh/release-name"
	// maxRelease bounds what Helm keeps of a release, unpacked: the chart with all its
	// files.
	maxRelease = 16 << 20
)

// Release is a Helm release as its newest deployed revision says.
type Release struct {
	Name                       string
	Revision                   int
	Chart, Version, AppVersion string
	// Values are those given for it, as JSON. They may hold passwords.
	Values json.RawMessage
}

// HelmRelease reads the Helm release that the instance's CouchDB belongs to, nil
// where it was not made by Helm.
func HelmRelease(ctx context.Context, c client.Reader, inv Inventory) (*Release, error) {
	name := ""
	note := func(template corev1.PodTemplateSpec, m metav1.ObjectMeta) {
		if IsCouchDB(template.Labels[ServiceLabel]) && m.Annotations[releaseAnnotation] != "" {
			name = m.Annotations[releaseAnnotation]
		}
	}
	for i := range inv.Deployments {
		note(inv.Deployments[i].Spec.Template, inv.Deployments[i].ObjectMeta)
	}
	for i := range inv.StatefulSets {
		note(inv.StatefulSets[i].Spec.Template, inv.StatefulSets[i].ObjectMeta)
	}
	if name == "" {
		return nil, nil
	}
	// Without their data: each holds the chart as a whole.
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := paged.All(ctx, c, list, client.InNamespace(inv.Namespace), client.MatchingLabels{"owner": "helm", "status": "deployed", "name": name}); err != nil {
		return nil, fmt.Errorf("list the secrets of Helm release %s/%s: %w", inv.Namespace, name, err)
	}
	newest, found := 0, ""
	for _, s := range list.Items {
		if n, err := strconv.Atoi(s.Labels["version"]); err == nil && n > newest {
			newest, found = n, s.Name
		}
	}
	if found == "" {
		return nil, nil
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: inv.Namespace, Name: found}, &secret); err != nil {
		return nil, fmt.Errorf("get secret %s/%s of Helm: %w", inv.Namespace, found, err)
	}
	release, err := decodeRelease(secret.Data["release"])
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s of Helm: %w", inv.Namespace, found, err)
	}
	if release.Name != name {
		return nil, fmt.Errorf("secret %s/%s of Helm is of another release", inv.Namespace, found)
	}
	return release, nil
}

// decodeRelease reads what Helm stored: base64 of gzip of JSON.
func decodeRelease(stored []byte) (*Release, error) {
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(stored)))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(zip, maxRelease+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(plain) > maxRelease {
		return nil, fmt.Errorf("it has more than %d bytes", maxRelease)
	}
	var r struct {
		Name    string `json:"name"`
		Version int    `json:"version"`
		Chart   struct {
			Metadata struct{ Name, Version, AppVersion string } `json:"metadata"`
		} `json:"chart"`
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(plain, &r); err != nil {
		return nil, fmt.Errorf("what it holds is no release") // the decoder's error may quote a value
	}
	m := r.Chart.Metadata
	release := &Release{Name: strings.TrimSpace(r.Name), Revision: r.Version, Chart: m.Name, Version: m.Version, AppVersion: m.AppVersion}
	if len(r.Config) > 0 && string(r.Config) != "null" {
		release.Values = r.Config
	}
	return release, nil
}
