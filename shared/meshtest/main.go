// Package meshtest gives the tests of the roles, and of the whole path, a mesh: a
// real server in process, a gateway, and the workers, notifiers, receivers,
// readers and processes that a test puts beside it. It is imported by tests only,
// may link everything, and promises that what it starts has ended when the test
// has.
package meshtest

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"agentmesh/shared/natstest"
	"agentmesh/shared/telemetry"
)

// Chaos asks for the long forms of the tests with real processes.
var Chaos = flag.Bool("chaos", false, "run the long form of the crash tests")

// Main runs the tests of a package, with telemetry as a role has it and without
// the contexts of whoever runs them. It fails when a goroutine
// is left behind. A TestMain calls it; it does not return.
func Main(m *testing.M) {
	if err := os.Setenv("XDG_CONFIG_HOME", filepath.Join(os.TempDir(), "mesh-test-no-settings")); err != nil {
		panic(err)
	}
	if _, err := telemetry.Start(context.Background(), telemetry.DefaultConfig(), "test", "test", false); err != nil {
		panic(err)
	}
	// Goroutines that the first started program leaves in this process for good.
	const programs = "agentmesh/worker/agents/exec."
	natstest.Main(m, goleak.IgnoreAnyFunction(programs+"reap"), goleak.IgnoreAnyFunction(programs+"(*groups).start.func2"))
}
