package a2aform_test

import (
	"encoding/json"
	"testing"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/task"
)

// Whatever an agent returned or a client sent, the task has a form that encodes.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{`"x"`, `{"artifacts":[{"artifactId":"a","parts":[{"text":"x"}]}]}`, `{"message":{"parts":[{"data":1e400}]}}`, `{"message":"x","awaiting":"y"}`, `{"artifacts":[null]}`, `{"a2a":{"message_id":1}}`} {
		f.Add([]byte(seed), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, result, metadata []byte) {
		if !json.Valid(result) || !json.Valid(metadata) {
			return
		}
		for _, kind := range []task.Kind{task.KindTask, task.KindTurn} {
			rec := &task.Task{ID: "tsk_01a200000000000000000000000000ff", Kind: kind, Status: task.Completed, Rev: 3, Result: task.Value{Inline: result}, Metadata: metadata, Input: task.Value{Inline: result}}
			rec.Transitions = []task.Transition{{Status: task.Completed, After: 1}}
			rec.Exchanges = task.Exchanges{}.With(task.Wait{Name: "q"}, result, rec.CreatedAt, string(metadata))
			all, err := a2aform.Updates(rec, 0, link)
			if err != nil || len(all) == 0 {
				t.Errorf("updates: %v", err)
			}
			for _, v := range []any{a2aform.Artifacts(result), a2aform.History(rec), a2aform.Status(rec), a2aform.Direct(rec), a2aform.Metadata(rec)} {
				if _, err := task.Marshal(v); err != nil {
					t.Errorf("%T: %v", v, err)
				}
			}
		}
	})
}
