package loopcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Options say where a driver lives.
type Options struct {
	Driver       string // CSI driver name
	Node         string // node id
	Pool         string // directory on a file system with reflinks
	Socket       string // of the CSI services
	Registration string // socket for the kubelet's plugin watcher; empty: none
	Snapshots    bool
	CloudIDs     bool // ids as EC2 gives them: vol-…, snap-…
}

// Serve runs the driver until ctx ends.
func Serve(ctx context.Context, o Options) error {
	ids := func(_, name string) string { return idOf(name) }
	if o.CloudIDs {
		ids = cloudID
	}
	p, err := openPool(filepath.Join(o.Pool, o.Driver), ids)
	if err != nil {
		return err
	}
	control := &controller{pool: p, cuts: newCuts(p), snapshots: o.Snapshots}
	services := grpc.NewServer(grpc.UnaryInterceptor(logCalls))
	csi.RegisterIdentityServer(services, &identity{driver: o.Driver})
	csi.RegisterControllerServer(services, control)
	csi.RegisterNodeServer(services, &node{id: o.Node, controller: control})
	failed := make(chan error, 2)
	if err := listen(services, o.Socket, failed); err != nil {
		return err
	}
	defer services.Stop()
	if o.Registration != "" {
		plugin := grpc.NewServer()
		registration.RegisterRegistrationServer(plugin, &registrar{driver: o.Driver, socket: o.Socket})
		if err := listen(plugin, o.Registration, failed); err != nil {
			return err
		}
		defer plugin.Stop()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func listen(server *grpc.Server, socket string, failed chan<- error) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() { failed <- server.Serve(l) }()
	return nil
}

func logCalls(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := handle(ctx, req)
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	slog.Log(ctx, level, filepath.Base(info.FullMethod), "took", time.Since(start), "request", req, "error", err)
	return resp, err
}

type identity struct {
	csi.UnimplementedIdentityServer
	driver string
}

func (i *identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.driver, VendorVersion: "1.0.0"}, nil
}

func (i *identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{
		Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}}}}, nil
}

func (i *identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// registrar tells the kubelet about the driver, which spares the sidecar that
// usually does.
type registrar struct {
	registration.UnimplementedRegistrationServer
	driver, socket string
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.driver, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"}}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !s.GetPluginRegistered() {
		slog.Error("the kubelet refused the driver", "driver", r.driver, "error", s.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
