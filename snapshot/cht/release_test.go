package cht

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// helmSecret is a release as Helm stores it.
func helmSecret(t *testing.T, namespace, name, version, status, text string) *corev1.Secret {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write([]byte(text)); errors.Join(err, zip.Close()) != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sh.helm.release.v1." + name + ".v" + version,
		Labels: map[string]string{"owner": "helm", "status": status, "name": name, "version": version}},
		Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(packed.Bytes()))}}
}

func TestHelmRelease(t *testing.T) {
	text := func(version, password string) string {
		return `{"name":"cht","version":` + version + `,"chart":{"metadata":{"name":"cht-chart-4x","version":"1.0.` + version + `","appVersion":"4.19"}},"config":{"password":"` + password + `"}}`
	}
	couch := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{releaseAnnotation: "cht"}}}
	couch.Spec.Template.Labels = map[string]string{ServiceLabel: "couchdb-1"}
	for name, tt := range map[string]struct {
		secrets []client.Object
		by      string
		want    string // "": none; else the revision's chart version, or an error
	}{
		"the newest that is deployed": {[]client.Object{helmSecret(t, "cht", "cht", "9", "deployed", text("9", "a")), helmSecret(t, "cht", "cht", "10", "deployed", text("10", "b")),
			helmSecret(t, "cht", "cht", "11", "failed", text("11", "c")), helmSecret(t, "other", "cht", "12", "deployed", text("12", "d")), helmSecret(t, "cht", "else", "13", "deployed", text("13", "e"))}, "cht", "1.0.10"},
		"none":              {nil, "cht", ""},
		"not made by Helm":  {[]client.Object{helmSecret(t, "cht", "cht", "9", "deployed", text("9", "a"))}, "", ""},
		"too large":         {[]client.Object{helmSecret(t, "cht", "cht", "9", "deployed", strings.Repeat(" ", maxRelease+1))}, "cht", "more than"},
		"no JSON":           {[]client.Object{helmSecret(t, "cht", "cht", "9", "deployed", `{"config": hunter2}`)}, "cht", "no release"},
		"of another's name": {[]client.Object{helmSecret(t, "cht", "cht", "9", "deployed", `{"name":"x"}`)}, "cht", "another release"},
	} {
		t.Run(name, func(t *testing.T) {
			d := *couch.DeepCopy()
			d.Annotations[releaseAnnotation] = tt.by
			got, err := HelmRelease(t.Context(), fake.NewClientBuilder().WithObjects(tt.secrets...).Build(), Inventory{Namespace: "cht", Deployments: []appsv1.Deployment{d}})
			switch {
			case err != nil:
				if tt.want == "" || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
					t.Error(err)
				}
			case got == nil:
				if tt.want != "" {
					t.Error("found none")
				}
			case got.Version != tt.want || got.Chart != "cht-chart-4x" || got.AppVersion != "4.19" || string(got.Values) != `{"password":"b"}`:
				t.Errorf("got %+v", got)
			}
		})
	}
}
