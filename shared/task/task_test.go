package task_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
)

const id = "tsk_01a20cd9e03b7276be6a181888e33e52"

var at = time.Date(2026, 5, 19, 10, 30, 0, 123456789, time.UTC)

func TestStateTable(t *testing.T) {
	allowed := map[task.State]string{
		task.Pending:       "processing completed failed canceled",
		task.Processing:    "processing pending input_required completed failed canceled",
		task.InputRequired: "pending failed canceled",
		task.Completed:     "", task.Failed: "", task.Canceled: "",
	}
	for _, from := range task.States {
		for _, to := range task.States {
			want := strings.Contains(" "+allowed[from]+" ", " "+string(to)+" ")
			tk := &task.Task{Status: from, Rev: 7}
			before := *tk
			err := tk.To(to, at)
			if want != (err == nil) || !want && !errors.Is(err, task.ErrTransition) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if err != nil && !reflect.DeepEqual(*tk, before) {
				t.Errorf("%s to %s was refused and changed the task: %+v", from, to, tk)
			}
		}
		if from.Terminal() != (allowed[from] == "") {
			t.Errorf("%s terminal: %v", from, from.Terminal())
		}
	}
	if task.State("done").Valid() || task.Allowed("done", task.Pending) == nil {
		t.Error("a state that there is not is allowed")
	}
}

func TestToKeepsTheBooks(t *testing.T) {
	tk := &task.Task{Status: task.Pending, Attempt: 1, NotBefore: at}
	move := func(s task.State, rev uint64, after time.Duration) {
		t.Helper()
		if err := tk.To(s, at.Add(after)); err != nil {
			t.Fatal(err)
		}
		tk.Rev = rev
	}
	stamp := at.Truncate(time.Millisecond)
	move(task.Processing, 10, 0)
	if !tk.StartedAt.Equal(stamp) || !tk.NotBefore.IsZero() || !tk.UpdatedAt.Equal(stamp) {
		t.Errorf("processing: %+v", tk)
	}
	tk.Error = &task.Error{Code: "agent_error", Attempt: 1}
	move(task.Pending, 12, time.Second)
	tk.Attempt = 2
	move(task.Processing, 15, 2*time.Second)
	tk.Error = nil
	move(task.Completed, 20, 3*time.Second)
	if !tk.StartedAt.Equal(stamp) || !tk.FinishedAt.Equal(stamp.Add(3*time.Second)) {
		t.Errorf("started %v, finished %v", tk.StartedAt, tk.FinishedAt)
	}
	var got []string
	for _, tr := range tk.Transitions {
		line, err := json.Marshal([]any{tr.Status, tr.Attempt, tr.After, tr.Error != nil})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
	}
	want := []string{`["processing",1,0,false]`, `["pending",1,10,true]`, `["processing",2,12,false]`, `["completed",2,15,false]`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("transitions %v, want %v", got, want)
	}
}

func TestTransitionsAreBounded(t *testing.T) {
	tk := &task.Task{Status: task.Pending}
	for i := range 3 * task.MaxTransitions {
		s := task.Processing
		if i%2 == 1 {
			s = task.Pending
		}
		tk.Attempt = i
		if err := tk.To(s, at); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tk.Transitions); n != task.MaxTransitions || tk.Transitions[n-1].Attempt != 3*task.MaxTransitions-1 {
		t.Errorf("%d transitions kept, the last %+v", n, tk.Transitions[n-1])
	}
}

func TestIDs(t *testing.T) {
	if got := task.NewID(task.KindTask, [16]byte{0x01, 0xa2, 15: 0xff}); got != "tsk_01a200000000000000000000000000ff" || !got.Valid() {
		t.Errorf("NewID = %s", got)
	}
	for _, good := range []string{id, "act_" + id[4:], "trn_" + id[4:]} {
		if !task.ID(good).Valid() {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{
		"", "tsk_", "tsk", id[4:], "ses_" + id[4:], id + "0", id[:35], strings.ToUpper(id), "tsk_" + strings.Repeat("g", 32),
		"tsk_*", "tsk_>", "tsk_" + strings.Repeat(".", 32), "tsk_" + strings.Repeat("*", 32), " " + id, id + "\n", "tsk_01a20cd9-e03b-7276-be6a-181888e33e5",
	} {
		if task.ID(bad).Valid() {
			t.Errorf("%q is accepted", bad)
		}
	}
	for name, want := range map[string]bool{"a": true, "a-1": true, strings.Repeat("a", 40): true, "": false, strings.Repeat("a", 41): false, "A": false, "a.b": false, "*": false, "a b": false, "a\n": false} {
		if task.ValidAgent(name) != want {
			t.Errorf("ValidAgent(%q) = %v", name, !want)
		}
	}
	for name, want := range map[string]bool{"default": true, "Acme_1-x": true, "": false, "a.b": false, "*": false, ">": false, strings.Repeat("a", 65): false} {
		if task.ValidTenant(name) != want {
			t.Errorf("ValidTenant(%q) = %v", name, !want)
		}
	}
}

func TestDefinition(t *testing.T) {
	if err := (task.Definition{Name: "a"}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		change func(*task.Definition)
		want   string
	}{
		{func(d *task.Definition) { d.Name = "A" }, "[a-z0-9-]{1,40}"},
		{func(d *task.Definition) { d.Concurrency = -1 }, "concurrency is -1, allowed is 1 to 10000"},
		{func(d *task.Definition) { d.MaxInFlight = 100_001 }, "max_in_flight is 100001, allowed is 1 to 100000"},
		{func(d *task.Definition) { d.Timeout = task.Duration(25 * time.Hour) }, "timeout is 25h0m0s, allowed is 1ms to 24h0m0s"},
		{func(d *task.Definition) { d.Retry.MaxAttempts = 101 }, "retry.max_attempts is 101"},
		{func(d *task.Definition) { d.Retry.Backoff = task.Duration(2 * time.Hour) }, "retry.backoff is 2h0m0s"},
		{func(d *task.Definition) {
			d.Retry.Backoff, d.Retry.MaxBackoff = task.Duration(time.Minute), task.Duration(time.Second)
		}, "retry.max_backoff is 1s, allowed is 1m0s to"},
		{func(d *task.Definition) { d.InputSchema = []byte(`{`) }, "input_schema is not JSON"},
	} {
		d := task.Definition{Name: "a"}.WithDefaults()
		tt.change(&d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	r := task.Retry{Backoff: task.Duration(time.Second), MaxBackoff: task.Duration(time.Minute)}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 100: time.Minute, 1 << 20: time.Minute} {
		if got := r.Ceiling(n); got != want {
			t.Errorf("Ceiling(%d) = %v, want %v", n, got, want)
		}
	}
	var low, high bool
	for range 1000 {
		d := r.Delay(3)
		if d < 0 || d > 4*time.Second {
			t.Fatalf("Delay(3) = %v", d)
		}
		low, high = low || d < time.Second, high || d > 3*time.Second
	}
	if !low || !high {
		t.Error("the jitter is not full")
	}
}

func TestJSONForms(t *testing.T) {
	b, err := task.Marshal(map[string]any{"text": "<a> & <b>", "d": task.Duration(90 * time.Second)})
	if want := `{"d":"1m30s","text":"<a> & <b>"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
	var d task.Duration
	if err := json.Unmarshal([]byte(`"1h30m"`), &d); err != nil || time.Duration(d) != 90*time.Minute {
		t.Errorf("%v, %v", time.Duration(d), err)
	}
	for _, bad := range []string{`"soon"`, `5`, `"5"`} {
		if json.Unmarshal([]byte(bad), &d) == nil {
			t.Errorf("%s is read as a duration", bad)
		}
	}
}

// Milestones are numbered from one and kept up to a number and a size, the newest
// ones.
func TestAddMilestone(t *testing.T) {
	for size, kept := range map[int]int{0: task.MaxMilestones, 4 << 10: 60} {
		rec := &task.Task{Attempt: 2}
		total := 0
		for range 1500 {
			rec.Rev++
			rec.AddMilestone(task.Milestone{Name: "x", Data: json.RawMessage(`"` + strings.Repeat("y", size) + `"`)})
		}
		for _, m := range rec.Milestones {
			total += len(m.Data)
		}
		first, last := rec.Milestones[0], rec.Milestones[len(rec.Milestones)-1]
		if len(rec.Milestones) < kept || last.N != 1500 || last.After != 1500 || last.Attempt != 2 || first.N != 1500-len(rec.Milestones)+1 ||
			total > task.MaxMilestoneBytes || len(rec.Milestones) > task.MaxMilestones {
			t.Errorf("%d milestones of %d bytes, from %d to %d", len(rec.Milestones), total, first.N, last.N)
		}
	}
}
