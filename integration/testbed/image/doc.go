// Package image writes container images without a registry, and loads image
// archives into the testbed's containerd.
// In: files, links, directories, a configuration; or an archive (OCI or docker).
// Out: an OCI archive, the same bytes for the same input; or image names.
// It never pulls and never runs anything of an image.
package image
