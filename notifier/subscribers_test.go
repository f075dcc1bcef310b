package notifier

import (
	"fmt"
	"slices"
	"testing"

	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// A change looks at the webhooks that may want it, once each, and at no others:
// a tenant may have thousands.
func TestAChangeLooksAtTheWebhooksOfItsAgentOnly(t *testing.T) {
	list := []*webhook.Endpoint{
		{ID: "all", Tenant: "a"}, {ID: "other tenant", Tenant: "b"}, {ID: "echo", Tenant: "a", Agents: []string{"echo", "x", "echo"}}, {ID: "both", Tenant: "a", Agents: []string{"x", "echo"}},
	}
	for n := range 5000 {
		list = append(list, &webhook.Endpoint{ID: webhook.ID(fmt.Sprint(n)), Tenant: "a", Agents: []string{"busy"}})
	}
	all := subscribersOf(list)
	for agent, want := range map[string][]webhook.ID{"echo": {"all", "echo", "both"}, "x": {"all", "echo", "both"}, "none": {"all"}} {
		var got []webhook.ID
		for _, r := range audienceOf(&task.Task{Tenant: "a", Agent: agent}, all) {
			got = append(got, r.webhook.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", agent, got, want)
		}
	}
	if n := len(all.of("a", "busy")); n != 5001 {
		t.Errorf("%d webhooks of a busy agent, want 5001", n)
	}
	few := &task.Task{Tenant: "a", Agent: "echo"}
	if n := testing.AllocsPerRun(10, func() { audienceOf(few, all) }); n > 8 {
		t.Errorf("%v allocations for 3 receivers", n)
	}
}
