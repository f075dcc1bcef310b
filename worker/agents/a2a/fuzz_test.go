package a2a

import (
	"errors"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Whatever a remote agent answers, it has a defined outcome.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"id":"a","status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[{"artifactId":"a","parts":[{"data":1}]}]}}`,
		`{"error":{"code":-32001,"message":"x","data":[{"reason":"TASK_NOT_FOUND"}]}}`, `{"id":"a","status":{"state":"TASK_STATE_INPUT_REQUIRED","message":{"parts":[{"data":{"questions":[{"name":"a b"}]}}]}}}`,
		`{"error":{"code":404,"details":[{"reason":"TASK_NOT_FOUND"}]}}`, `[]`, `{"result":{"artifacts":[null]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, r := range []*remote{{rpc: true}, {}} {
			var seen remoteTask
			if err := decode(r, raw, &seen); err != nil {
				var known *agent.Error
				if !errors.As(lasting(err), &known) || !known.Permanent {
					t.Errorf("%s: %v", raw, err)
				}
				continue
			}
			e := &errand{seen: &seen}
			if q, ok := e.question(); ok && !q.Ended && (q.Name == "" || q.Prompt == "") {
				t.Errorf("%s asks %+v", raw, q)
			}
			if _, err := task.Marshal(seen.result()); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
			var one a2a.StreamResponse
			_ = decode(r, raw, &one)
		}
	})
}
