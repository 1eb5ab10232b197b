package bucket

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// s3 is a server that speaks S3, one for all tests.
var s3 struct {
	sync.Once
	server   *exec.Cmd
	endpoint string
	why      string // there is none
}

func TestMain(m *testing.M) {
	code := m.Run()
	if s3.server != nil {
		_ = s3.server.Process.Kill()
		_ = s3.server.Wait()
	}
	os.Exit(code)
}

// s3URL gives a place for a catalog that no other test has.
func s3URL(t *testing.T) string {
	t.Helper()
	s3.Do(startS3)
	if s3.why != "" {
		t.Skip("there is no server that speaks S3 here: " + s3.why)
	}
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
	return "s3://catalogs/" + strings.ToLower(strings.ReplaceAll(t.Name(), "_", "-")) + "/deep?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(s3.endpoint)
}

func startS3() {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		s3.why = "moto_server is not installed"
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s3.why = err.Error()
		return
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	server := exec.Command(program, "-H", "127.0.0.1", "-p", port) //nolint:gosec // found above
	if err := server.Start(); err != nil {
		s3.why = "moto_server does not start: " + err.Error()
		return
	}
	s3.server, s3.endpoint = server, "http://"+address
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		r, err := http.NewRequest(http.MethodPut, s3.endpoint+"/catalogs", nil) //nolint:noctx // bounded by the deadline
		if err != nil {
			s3.why = err.Error()
			return
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			s3.why = "moto_server does not answer: " + err.Error()
			continue
		}
		_ = answer.Body.Close()
		if s3.why = ""; answer.StatusCode == http.StatusOK {
			return
		}
		s3.why = fmt.Sprintf("moto_server answers %s", answer.Status)
	}
}
