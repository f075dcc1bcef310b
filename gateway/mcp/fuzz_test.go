package mcp

import (
	"encoding/json"
	"testing"
)

// Whatever an agent's result is, a client can read what it becomes.
func FuzzResult(f *testing.F) {
	for _, s := range []string{`"x"`, `{"text":"x"}`, `{"content":[{"type":"text","text":"x"}]}`, `{"content":[{"type":"image"}]}`, `[1]`, `null`, ``} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, modern bool) {
		if len(raw) > 0 && !json.Valid(raw) {
			return // a worker kept it as JSON
		}
		r := shown(raw, modern)
		if b, err := json.Marshal(r); err != nil || !json.Valid(b) || len(r.Content) == 0 {
			t.Errorf("%q: %s, %v", raw, b, err)
		}
	})
}

// No body of a request makes the parser panic, and what it takes has a method.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"_meta":{}}}`))
	f.Add([]byte(`{"method":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if a, ok := parse(Request{Body: body}); a == nil || ok && len(body) == 0 {
			t.Errorf("%q", body)
		}
	})
}
