package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"os"
	"text/template"

	"github.com/medic/cht-backup/integration/testbed/build"
	"github.com/medic/cht-backup/integration/testbed/pki"
)

//go:embed files manifests
var embedded embed.FS

// values are what the templates in files and manifests refer to.
func (t *Testbed) values() map[string]any {
	return map[string]any{
		"Dir": t.Dir, "Node": NodeName, "NodeIP": nodeIP, "PodCIDR": PodCIDR, "ServiceCIDR": ServiceCIDR,
		"DNSIP": dnsIP, "DNSPort": dnsPort, "Cgroup": cgroup, "PauseImage": pauseImage, "Netns": Netns,
		"Driver": Driver, "NoSnapDriver": NoSnapDriver, "EBSDriver": EBSDriver, "LocalPath": LocalPath, "LocalPathDir": t.localPathDir(), "Kubeconfig": t.Kubeconfig(), "Socket": t.containerdSocket(),
		"Version": build.KubernetesVersion,
	}
}

func (t *Testbed) render(name string) ([]byte, error) {
	parsed, err := template.New("").Option("missingkey=error").ParseFS(embedded, name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Templates()[0].Execute(&out, t.values())
	return out.Bytes(), err
}

// writeFiles writes the configuration of every component.
func (t *Testbed) writeFiles() error {
	if err := os.MkdirAll(t.path("cni"), 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{
		"files/containerd.toml": "containerd.toml",
		"files/cni.conflist":    "cni/10-testbed.conflist",
		"files/kubelet.yaml":    "kubelet.yaml",
		"files/proxy.yaml":      "proxy.yaml",
		"files/scheduler.yaml":  "scheduler.yaml",
		"files/Corefile":        "Corefile",
		"files/resolv.conf":     "resolv.conf",
	} {
		data, err := t.render(from)
		if err != nil {
			return fmt.Errorf("render %s: %w", from, err)
		}
		if err := os.WriteFile(t.path(to), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manifests returns what the cluster is given once its API serves.
func (t *Testbed) manifests() (string, error) {
	var all bytes.Buffer
	names, err := fs.Glob(embedded, "manifests/*.yaml")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		data, err := t.render(name)
		if err != nil {
			return "", fmt.Errorf("render %s: %w", name, err)
		}
		all.WriteString("\n---\n")
		all.Write(data)
	}
	return all.String(), nil
}

func (t *Testbed) writeCertificates() error {
	authority, err := pki.New(t.path("pki"))
	if err != nil {
		return err
	}
	server := "https://" + nodeIP + ":6443"
	ips := []net.IP{net.ParseIP(nodeIP), net.ParseIP(serviceIP), net.IPv4(127, 0, 0, 1)}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
	steps := []func() error{
		func() error { return authority.Server("apiserver", ips, names) },
		func() error { return authority.SigningKey("sa") },
		func() error { return authority.Client("admin", "testbed-admin", "system:masters") },
		func() error { return authority.Client("apiserver-kubelet", "testbed-apiserver", "system:masters") },
		func() error { return authority.Client("kubelet", "system:node:"+NodeName, "system:nodes") },
		func() error { return authority.Kubeconfig(t.path("kubelet.kubeconfig"), server, "kubelet") },
		func() error { return authority.Kubeconfig(t.Kubeconfig(), server, "admin") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("make certificates: %w", err)
		}
	}
	return nil
}
