package compose

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/medic/cht-backup/snapshot/compose/engine"
	"github.com/medic/cht-backup/snapshot/compose/project"
)

// Where the CHT's nginx keeps certificate and key, unless its environment says otherwise.
const (
	certPath = "/etc/nginx/private/cert.pem"
	keyPath  = "/etc/nginx/private/key.pem"
	// maxCertificate bounds one file, in bytes.
	maxCertificate = 256 << 10
)

// Names under which certificate and key are recorded.
const (
	CertificateName = "cert.pem"
	KeyName         = "key.pem"
)

// certificates reads the pair with which nginx answers: from a directory, or as nginx's
// container has it. A project without is good: it may lie behind another server.
func (i *Instance) certificates(dir string, running map[string]engine.Container) error {
	if dir != "" {
		return i.pair(filepath.Join(dir, CertificateName), filepath.Join(dir, KeyName), true)
	}
	for _, name := range []string{"cht-nginx", "nginx"} {
		c, there := running[name]
		if !there || c.PID == 0 {
			continue
		}
		root := fmt.Sprintf("/proc/%d/root", c.PID)
		cert, key := cmp.Or(c.Environment["SSL_CERT_FILE_PATH"], certPath), cmp.Or(c.Environment["SSL_KEY_FILE_PATH"], keyPath)
		return i.pair(root+path.Clean("/"+cert), root+path.Clean("/"+key), false)
	}
	return nil
}

func (i *Instance) pair(cert, key string, must bool) error {
	var pair []project.File
	for _, one := range [][2]string{{CertificateName, cert}, {KeyName, key}} {
		name, at := one[0], one[1]
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) && !must {
			return nil
		}
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCertificate) {
			err = errors.New("it is no file of a certificate")
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(at) //nolint:gosec // the operator's, or of nginx's container
		}
		if err != nil {
			return fmt.Errorf("nginx's %s: %w", name, err)
		}
		pair = append(pair, project.File{Path: name, Mode: info.Mode().Perm(), Data: data})
	}
	i.Certificates = pair
	return nil
}
