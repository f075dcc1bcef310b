package a2a

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

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

// Whatever a client of 0.3 sends, it is refused with an error of the protocol or becomes
// params of 1.0, and every part of it may be shown again.
func FuzzOldMessage(f *testing.F) {
	for _, seed := range []string{
		`{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"x"},{"kind":"data","data":{"n":12345678901234567}}]},"configuration":{"blocking":false,"pushNotificationConfig":{"url":"x","authentication":{"schemes":[]}}}}`,
		`{"message":{"role":"ROLE_USER","content":[{"file":{"fileWithBytes":"QUFFPQ=="}},{"data":{"data":[1]}}]}}`, `{"message":{"parts":[{"file":{"bytes":"?"}},{"data":7,"metadata":{"data_part_compat":true}}]}}`,
		`{"taskId":"x","pushNotificationConfig":{"url":"x"},"configId":"y"}`, `{"id":"x"}`, `[]`, `{"message":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, m := range oldMethods {
			sent, err := translated(raw, m.read)
			var own *fault
			if err != nil && (!errors.As(err, &own) || kinds[own.is].code == 0) {
				t.Errorf("%s %s: %v is no error of the protocol", name, raw, err)
			}
			if err == nil && !json.Valid(sent) {
				t.Errorf("%s %s: %s is no JSON", name, raw, sent)
			}
		}
		in, err := oldSending(true)(raw)
		if s, ok := in.(sending); err == nil && ok && s.Message != nil {
			for _, p := range s.Message.Parts {
				for _, form := range []oldForm{{}, {rest: true}} {
					v := a2a.ContentParts{a2a.NewDataPart(orNull(p.Data))}
					if p.Raw != nil {
						v = a2a.ContentParts{a2a.NewRawPart(*p.Raw)}
					}
					if b, err := json.Marshal(form.parts(v)); err != nil || len(b) == 0 {
						t.Errorf("%s: %v", raw, err)
					}
				}
			}
		}
	})
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}
