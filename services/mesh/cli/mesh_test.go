package cli

import (
	"testing"

	"agentmesh/shared/egress"
	"agentmesh/shared/meshtest"
)

func TestMain(m *testing.M) { meshtest.Main(m) }

// newMesh is a mesh whose callbacks go out on real sockets: mesh listen has one.
func newMesh(t *testing.T) *meshtest.Mesh {
	t.Helper()
	m := meshtest.New(t)
	m.Guard = egress.New(egress.Policy{Allow: egress.Loopback()}, nil)
	m.Gateway = m.NewGateway(m.Store)
	return m
}
