// stargz SOCKET ROOT CONFIG.json: stargz-snapshotter's service on a unix socket. The project's own program lives in
// another module than its library, which not every module proxy has; this is what it does without Kubernetes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"google.golang.org/grpc"
)

func main() {
	if err := serve(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(socket, root, configFile string) error {
	text, err := os.ReadFile(configFile)
	if err != nil {
		return err
	}
	var config service.Config
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	snapshotter, err := service.NewStargzSnapshotterService(context.Background(), root, &config)
	if err != nil {
		return err
	}
	// Unmounts what it mounted.
	defer snapshotter.Close()
	rpc := grpc.NewServer()
	api.RegisterSnapshotsServer(rpc, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ended
		rpc.Stop()
	}()
	return rpc.Serve(listener)
}
