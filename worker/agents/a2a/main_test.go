package a2a_test

import (
	"testing"

	"agentmesh/shared/meshtest"
)

func TestMain(m *testing.M) { meshtest.Main(m) }
