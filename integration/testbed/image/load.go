package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Load imports an archive into the containerd at socket and returns its images'
// names once the kubelet would find them. Loading again changes nothing.
func Load(ctx context.Context, socket string, images cri.ImageServiceClient, file string) ([]string, error) {
	archive, err := inspect(file)
	if err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(archive.rewrite(file, writer)) }()
	cmd := exec.CommandContext(ctx, "ctr", "-a", socket, "-n", "k8s.io", "images", "import", "-")
	cmd.Stdin = reader
	out, err := cmd.CombinedOutput()
	_ = reader.Close()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w: %s", file, err, strings.TrimSpace(string(out)))
	}
	for _, name := range archive.Names {
		if err := known(ctx, images, name); err != nil {
			return nil, err
		}
	}
	return archive.Names, nil
}

// Tag gives a loaded image another name and returns once the kubelet would find it.
func Tag(ctx context.Context, socket string, images cri.ImageServiceClient, name, fresh string) error {
	for _, one := range []*string{&name, &fresh} {
		full, err := Normalize(*one)
		if err != nil {
			return err
		}
		*one = full
	}
	out, err := exec.CommandContext(ctx, "ctr", "-a", socket, "-n", "k8s.io", "images", "tag", "--force", name, fresh).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tag %s as %s: %w: %s", name, fresh, err, strings.TrimSpace(string(out)))
	}
	return known(ctx, images, fresh)
}

// known waits until the CRI plugin has taken notice of an import. It does so by an
// event of containerd's own and tells nobody when done, hence the asking.
func known(ctx context.Context, images cri.ImageServiceClient, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		resp, err := images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err == nil && resp.GetImage() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("image %s was imported but the kubelet cannot see it: %w", name, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
