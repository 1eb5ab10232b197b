package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/cht/service"
)

func runHealthcheck(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	env, err := environment("COUCHDB_SERVERS", "COUCHDB_USER", "COUCHDB_PASSWORD")
	if err != nil {
		return err
	}
	servers := list(env[0])
	if len(servers) == 0 {
		return errors.New("COUCHDB_SERVERS names no server")
	}
	return service.Healthcheck(ctx, ":5555", servers, env[1], env[2])
}

// runHAProxy becomes HAProxy, so that its signals and its end are the container's.
func runHAProxy(ctx context.Context, flags *flag.FlagSet, args []string) error {
	binary := flags.String("binary", "/usr/sbin/haproxy", "`PATH` of HAProxy")
	file := flags.String("config", "/run/haproxy.cfg", "`FILE` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	env, err := environment("COUCHDB_SERVERS", "COUCHDB_USER", "COUCHDB_PASSWORD", "HAPROXY_IP", "HAPROXY_PORT", "HEALTHCHECK_ADDR")
	if err != nil {
		return err
	}
	o := service.HAProxyOptions{Servers: list(env[0]), User: env[1], Password: env[2], Bind: net.JoinHostPort(env[3], env[4]), HealthcheckAddr: env[5]}
	names := o.Servers
	if len(names) > 1 {
		names = append(names[:len(names):len(names)], o.HealthcheckAddr)
	}
	resolve, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := service.WaitResolved(resolve, names...); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(*file, []byte(service.HAProxyConfig(o)), 0o600); err != nil {
		return err
	}
	return syscall.Exec(*binary, []string{"haproxy", "-db", "-f", *file}, os.Environ())
}

// runNginx prepares what the CHT's nginx image prepares at its start, and becomes nginx.
func runNginx(_ context.Context, flags *flag.FlagSet, args []string) error {
	binary := flags.String("binary", "/usr/sbin/nginx", "`PATH` of nginx")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cert, key := "/etc/nginx/private/cert.pem", "/etc/nginx/private/key.pem"
	for name, file := range map[string]*string{"SSL_CERT_FILE_PATH": &cert, "SSL_KEY_FILE_PATH": &key} {
		if given := os.Getenv(name); given != "" {
			*file = given
		}
	}
	if err := errors.Join(service.NginxTemplates("/etc/nginx/templates", "/etc/nginx/conf.d", os.LookupEnv),
		service.NginxCertificate(os.Getenv("CERTIFICATE_MODE"), os.Getenv("COMMON_NAME"), cert, key)); err != nil {
		return err
	}
	// -e, or it begins with a file in Debian's place.
	return syscall.Exec(*binary, []string{"nginx", "-e", "stderr", "-g", "daemon off;"}, os.Environ())
}

func runAPI(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	env, err := environment("COUCH_URL", "API_PORT")
	if err != nil {
		return err
	}
	handler, err := service.API(ctx, env[0])
	if err != nil {
		return err
	}
	return serve(ctx, ":"+env[1], handler)
}

func runSentinel(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	env, err := environment("COUCH_URL")
	if err != nil {
		return err
	}
	return service.Sentinel(ctx, env[0], os.Getenv("SMS_GATEWAY_URL"))
}

func runGateway(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	return serve(ctx, ":8080", service.Gateway())
}

func runUpgradeService(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	return serve(ctx, ":5008", says("cht-upgrade-service"))
}

func runNouveau(ctx context.Context, _ *flag.FlagSet, _ []string) error {
	return serve(ctx, ":5987", says("nouveau"))
}

func says(what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "{\"service\":%q}\n", what) // the client is gone
	})
}

// serve answers until ctx ends. No timeouts: what is behind may stall.
func serve(ctx context.Context, addr string, handler http.Handler) error {
	server := &http.Server{Addr: addr, Handler: handler}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing here is worth waiting for
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
