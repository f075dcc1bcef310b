package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents/echo"
)

// The consumers of an agent are made again while its worker has nothing to do but
// wait.
func TestDeletedConsumersOfAnAgentAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		id := m.Create(`{"agent":"echo","input":1}`)
		m.End(id)
		m.DeleteConsumer(topology.Tasks, topology.AgentDurable("echo"))
		m.DeleteConsumer(topology.Turns, topology.AgentDurable("echo"))
		time.Sleep(3 * time.Second)
		if missing, err := m.Store.Consumers.Missing(t.Context()); err != nil || len(missing) != 0 {
			t.Errorf("missing = %v, %v", missing, err)
		}
		if v := m.End(m.Create(`{"agent":"echo","input":2}`)); v.Status != "completed" {
			t.Errorf("task = %+v", v)
		}
	})
}
