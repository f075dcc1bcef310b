package notifier_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// The wire forms of events, byte for byte but for ids and times.
func TestGoldenWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
			if err := job.Milestone(ctx, "half", "half way", map[string]int{"n": 1}); err != nil {
				return nil, err
			}
			if job.Instruction == "fail" {
				return nil, agent.Permanent(fmt.Errorf("no <flights> & no trains"))
			}
			return map[string]string{"flight": "<b>&"}, nil
		}))
		m.Notify()
		r := m.Receive(nil)
		all := `"callback_events":["processing","milestone","completed","failed","canceled"]`
		m.Do("POST", "/actions", `{"agent":"steps","instruction":"x","labels":{"team":"a"},"metadata":{"k":[1]},"callback_url":"`+r.URL+`",`+all+`}`)
		time.Sleep(time.Second)
		m.Do("POST", "/tasks", `{"agent":"steps","instruction":"fail","callback_url":"`+r.URL+`",`+all+`}`)
		time.Sleep(time.Second)
		id := meshtest.Decode[api.AcceptedAction](t, m.Do("POST", "/actions", `{"agent":"steps","instruction":"x","delay":"1h","callback_url":"`+r.URL+`"}`).Body).ActionID
		m.Do("POST", "/actions/"+id+"/cancel", "")
		time.Sleep(time.Second)
		var parts []string
		for _, got := range r.All() {
			v := got.JSON()
			for _, k := range []string{"action_id", "task_id", "trace_id", "timestamp"} {
				if s, ok := v[k].(string); ok {
					got.Body = []byte(strings.ReplaceAll(string(got.Body), s, "<"+k+">"))
				}
			}
			got.Header.Set("Webhook-Timestamp", "<unix seconds>")
			got.Header.Set("Webhook-Id", got.ID()[:4]+"<hash>")
			got.Header.Set("Traceparent", "<w3c>")
			got.Header.Set("Content-Length", "<n>")
			var schemes []string
			for s := range strings.FieldsSeq(got.Header.Get("Webhook-Signature")) {
				scheme, _, _ := strings.Cut(s, ",")
				schemes = append(schemes, scheme+",<base64>")
			}
			got.Header.Set("Webhook-Signature", strings.Join(schemes, " "))
			var head strings.Builder
			for _, name := range slices.Sorted(maps.Keys(got.Header)) {
				fmt.Fprintf(&head, "%s: %s\n", name, got.Header.Get(name))
			}
			parts = append(parts, fmt.Sprintf("%s\n%s\n", head.String(), got.Body))
		}
		slices.Sort(parts) // deliveries have no order
		manualtest.File(t, "testdata/webhooks.txt", strings.Join(parts, "\n"))
	})
}
