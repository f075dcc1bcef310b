package a2a

import (
	"encoding/json"
	"errors"
	"testing"

	"agentmesh/shared/task"
)

// Whatever a message is, it is refused with an error of the protocol or becomes a
// submission that encodes.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"},{"data":{"n":12345678901234567}}]}}`, `{"message":{"parts":[{"raw":"AA=="},{"url":"https://x"}]}}`,
		`{"task_id":"x","configuration":{"historyLength":-1}}`, `[]`, `{"message":null}`, `{"message":{"messageId":"m","role":"ROLE_USER","contextId":"ses_","parts":[{"text":""}]}}`,
	} {
		f.Add([]byte(seed))
	}
	open := []task.Wait{{Name: "a", Kind: task.WaitInput, Schema: json.RawMessage(`{"type":["boolean","null"]}`)}, {Name: "b", Kind: task.WaitInput}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := decode[sending](camel(raw))
		if err == nil {
			err = s.check()
		}
		var own *fault
		if err != nil {
			if !errors.As(err, &own) || kinds[own.is].code == 0 {
				t.Errorf("%s: %v is no error of the protocol", raw, err)
			}
			return
		}
		sub, err := s.submission("a", nil)
		if err == nil {
			if _, err := json.Marshal(sub.Input); err != nil {
				t.Errorf("%s: input %s", raw, sub.Input)
			}
		}
		c := s.Message.content()
		_, _, _ = c.spoken()
		answers, _ := c.answers(open)
		for _, a := range answers {
			if !json.Valid(a.value) {
				t.Errorf("%s: the answer %s is no JSON", raw, a.value)
			}
		}
	})
}
