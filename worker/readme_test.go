package worker_test

import (
	"testing"

	"agentmesh/shared/manualtest"
)

// The Go that the page shows is in an example that runs.
func TestReadmeShowsTheExample(t *testing.T) {
	manualtest.Shown(t, "README.md", "example_test.go")
}
