package image

import (
	"fmt"
	"strings"
)

// Normalize completes an image name as the kubelet and containerd read it:
// docker.io/library/ where there is no host and no path, :latest where there is no tag.
func Normalize(name string) (string, error) {
	if name == "" || name != strings.TrimSpace(name) || strings.ContainsAny(name, " \t\n") {
		return "", fmt.Errorf("image name %q: not a name", name)
	}
	host, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		name = "docker.io/" + name
	case rest == "":
		return "", fmt.Errorf("image name %q: nothing after the host", name)
	}
	if strings.Contains(name, "@") {
		return name, nil
	}
	if last := name[strings.LastIndexByte(name, '/'):]; !strings.Contains(last, ":") {
		name += ":latest"
	}
	return name, nil
}

func tagOf(normalized string) string {
	return normalized[strings.LastIndexByte(normalized, ':')+1:]
}
