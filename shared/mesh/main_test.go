package mesh_test

import (
	"testing"

	"agentmesh/shared/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }
