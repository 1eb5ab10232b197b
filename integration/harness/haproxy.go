package harness

import "context"

// haproxy is an image of Debian's HAProxy, with a start that writes the CHT's kind
// of configuration.
func (b builder) haproxy(ctx context.Context) (Archive, error) {
	r, err := b.fromDebian(ctx, "haproxy", "/usr/sbin/haproxy", "haproxy")
	if err != nil {
		return Archive{}, err
	}
	r.Texts = map[string]string{"/etc/passwd": "root:x:0:0:root:/:/bin/sh\n", "/etc/nsswitch.conf": "hosts: files dns\n"}
	return b.write(ctx, "cht-haproxy:test", r)
}
