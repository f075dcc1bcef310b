//go:build unix

package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentmesh/shared/config"
	"agentmesh/shared/meshtest"
)

// TestAServiceManagerHearsWhenTheMeshIsOpen listens as systemd does for a unit of
// Type=notify.
func TestAServiceManagerHearsWhenTheMeshIsOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", name)
	newOpening(meshtest.Quiet()).done()
	_ = socket.SetReadDeadline(time.Now().Add(10 * time.Second))
	heard := make([]byte, 64)
	n, err := socket.Read(heard)
	if err != nil || string(heard[:n]) != "READY=1" {
		t.Errorf("heard %q, %v, want READY=1", heard[:n], err)
	}
}

// TestOneFileServesEveryRole has each command know the settings of all others, so
// that it passes them over.
func TestOneFileServesEveryRole(t *testing.T) {
	known := pflag.NewFlagSet("all", pflag.ContinueOnError)
	config.Bind(known, everySetting()...)
	for _, cmd := range []*cobra.Command{upCommand(), gatewayCommand(), workerCommand(), notifierCommand(), initCommand(), migrateCommand(), doctorCommand()} {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if cmd.Flags().Lookup("config") != nil && known.Lookup(f.Name) == nil && f.Annotations == nil && !ownFlag[cmd.Name()+" "+f.Name] {
				t.Errorf("mesh %s has the setting %s, which the others would refuse in a shared file", cmd.Name(), f.Name)
			}
		})
	}
}

// ownFlag are flags that are no settings.
var ownFlag = map[string]bool{"migrate dry-run": true, "migrate apply": true, "migrate json": true, "doctor json": true, "doctor role": true, "doctor callback": true}
