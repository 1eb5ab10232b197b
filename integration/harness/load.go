package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// loadedImages is kept in the cluster, so that it is forgotten with the cluster:
// for each image the archive's hash, and the name it got.
var loadedImages = client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "harness-images"}

// load brings images that are new into the testbed.
func (c *Cluster) load(ctx context.Context, built map[string]Archive) error {
	var known corev1.ConfigMap
	err := c.Client.Get(ctx, loadedImages, &known)
	fresh := apierrors.IsNotFound(err)
	if err != nil && !fresh {
		return fmt.Errorf("read which images are loaded: %w", err)
	}
	if known.Data == nil {
		known.Data = map[string]string{}
	}
	changed := false
	for _, kind := range sorted(built) {
		a := built[kind]
		if a.File != "" {
			sum, err := fileSum(a.File)
			if err != nil {
				return err
			}
			key := filepath.Base(a.File) // a given CouchDB and the stand-in do not displace each other
			oldSum, name, _ := strings.Cut(known.Data[key], " ")
			if oldSum != sum {
				if name, err = c.loadArchive(ctx, a); err != nil {
					return err
				}
				known.Data[key], changed = sum+" "+name, true
			}
			a.Name = name
			if kind == imageController {
				c.controllerSum = sum
			}
		}
		*c.Images.field(kind) = a.Name
	}
	if !changed {
		return nil
	}
	known.Namespace, known.Name = loadedImages.Namespace, loadedImages.Name
	if fresh {
		err = c.Client.Create(ctx, &known)
	} else {
		err = c.Client.Update(ctx, &known)
	}
	if err != nil {
		return fmt.Errorf("note which images are loaded: %w", err)
	}
	return nil
}

func (c *Cluster) loadArchive(ctx context.Context, a Archive) (string, error) {
	out, err := c.Testbed(ctx, "image", "load", a.File)
	if err != nil {
		return "", fmt.Errorf("load image %s: %w", a.File, err)
	}
	names := strings.Fields(out)
	if len(names) == 0 {
		return "", fmt.Errorf("load image %s: no image in it", a.File)
	}
	c.logf("loaded image %s", names[0])
	return names[0], nil
}
