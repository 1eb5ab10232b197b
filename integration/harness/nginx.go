package harness

import (
	"context"

	"github.com/medic/cht-backup/integration/cht/service"
)

// nginx is an image of Debian's nginx that takes what the CHT's takes: API_HOST and
// API_PORT, CERTIFICATE_MODE, a certificate in /etc/nginx/private, templates of
// configuration in /etc/nginx/templates.
func (b builder) nginx(ctx context.Context) (Archive, error) {
	r, err := b.fromDebian(ctx, "nginx", "/usr/sbin/nginx", "nginx")
	if err != nil {
		return Archive{}, err
	}
	r.Texts = service.NginxFiles()
	r.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	// Where Debian's begins to log before it has read any configuration.
	r.Links = map[string]string{"/var/log/nginx/error.log": "/dev/stderr"}
	r.Dirs = append(r.Dirs, "/etc/nginx/conf.d", "/etc/nginx/private", "/var/cache/nginx", "/var/log/nginx")
	return b.write(ctx, "cht-nginx:test", r)
}
