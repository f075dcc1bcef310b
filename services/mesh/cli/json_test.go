package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// A script reads URLs and texts as they are: & and < are no special characters on
// a terminal, and stay what they are in every answer.
func TestEveryCommandWritesTheSameJSON(t *testing.T) {
	const odd = "a&b<c>"
	m := newMesh(t)
	srv, c := m.Serve()
	a := agent.Conversation(func(_ context.Context, job *agent.Job, text string, _ *struct{}) (string, error) { return odd, nil })
	a.Name, a.Description = "talks", odd
	m.Work(a, meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		return map[string]string{"text": odd}, job.Milestone(ctx, "half", odd, map[string]string{"k": odd})
	}))
	m.Notify()
	task := m.Create(`{"agent":"a","instruction":"x","labels":{"team":"` + odd + `"},"callback_url":"http://127.0.0.1:1/?a=1&b=2"}`)
	m.End(task)
	session := meshtest.Decode[struct {
		ID string `json:"session_id"`
	}](t, m.Do("POST", "/sessions", `{"agent":"talks"}`).Body).ID
	m.Do("POST", "/sessions/"+session+"/messages", `{"text":"`+odd+`"}`)
	hook := meshtest.Decode[struct {
		ID string `json:"webhook_id"`
	}](t, m.Do("POST", "/webhooks", `{"url":"http://127.0.0.1:1/?a=1&b=2"}`).Body).ID
	var delivery string
	natstest.Until(t, "the outcome is on its way", func() bool {
		all, err := c.Tasks.Deliveries(t.Context(), task)
		if err != nil || len(all) == 0 {
			return false
		}
		delivery = all[len(all)-1].DeliveryID
		return true
	})
	for _, args := range [][]string{
		{"task", "get", task}, {"task", "list"}, {"task", "trace", task}, {"task", "watch", task}, {"session", "list"}, {"session", "show", session},
		{"webhook", "get", hook}, {"webhook", "list"}, {"webhook", "rotate", hook}, {"delivery", "list"}, {"delivery", "get", delivery}, {"agents", "list"}, {"top", "--once"}, {"whoami"}, {"audit"}, {"tenants", "set", "acme", "--rate", "5"}, {"tenants", "get", "acme"}, {"tenants", "list"},
		{"session", "say", session, odd},
	} {
		code, out, errs := cli(t, append(args, "--gateway", srv.URL, "-o", "json")...)
		if code != 0 || !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
			t.Errorf("mesh %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		if strings.Contains(out, `\u00`) {
			t.Errorf("mesh %s writes %s", strings.Join(args, " "), out)
		}
	}
}
