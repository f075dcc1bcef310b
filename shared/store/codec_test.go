package store

import (
	"testing"

	"agentmesh/shared/task"
)

const id = "tsk_01a20cd9e03b7276be6a181888e33e52"

func TestDecodeRefusesWhatIsNoTask(t *testing.T) {
	for _, bad := range []string{
		`{`, `{}`, `{"task_id":"x","tenant":"default","agent":"a","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"a.b","agent":"a","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"default","agent":"*","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"default","agent":"a","status":"done"}`,
	} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%s is read as a task", bad)
		}
	}
}

// Bytes that decode are a task that may go on a subject, and keep their meaning.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"task_id":"` + id + `","tenant":"default","agent":"echo","status":"pending","created_at":"2026-05-19T10:30:00Z"}`))
	f.Add([]byte(`{"task_id":"` + id + `","tenant":"default","agent":"echo","status":"completed","result":{"inline":{"a":1}},"transitions":[{"status":"completed","after":3}],"milestones":[{"n":1}],"progress_percent":5,"timeout":"5m0s"}`))
	f.Add([]byte(`{"task_id":"act_*","status":"pending"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tk, err := decode(b)
		if err != nil {
			return
		}
		if !tk.ID.Valid() || !task.ValidTenant(tk.Tenant) || !task.ValidAgent(tk.Agent) || !tk.Status.Valid() {
			t.Fatalf("accepted %s", b)
		}
		first, err := encode(tk)
		if err != nil {
			t.Skip() // such as a time beyond the year 9999
		}
		if plain, err := task.Marshal(tk); err != nil || string(plain) != string(first) {
			t.Fatalf("%s\nis %s, %v for encoding/json", first, plain, err)
		}
		again, err := decode(first)
		if err != nil {
			t.Fatalf("%s does not decode again: %v", first, err)
		}
		if second, err := encode(again); err != nil || string(second) != string(first) {
			t.Fatalf("%s\nbecomes %s, %v", first, second, err)
		}
	})
}
