package inspect

import (
	"testing"

	"agentmesh/shared/meshtest"
)

func TestMain(m *testing.M) { meshtest.Main(m) }
