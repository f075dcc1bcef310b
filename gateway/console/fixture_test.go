package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// fakeAPI answers as a gateway would, with made-up data: every screen can be had in
// every state without a mesh.
type fakeAPI struct {
	n       int              // of each thing
	say     func(int) string // every text that somebody else has written
	scopes  []string
	subject string
	auth    string
	refuses int // the status of every answer but whoami; 0: none
	asked   []string

	mu sync.Mutex
}

// more has the fake have so many of each thing from now on.
func (f *fakeAPI) more(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n = n
}

// Ids that the fake knows.
func fakeID(kind string, i int) string { return fmt.Sprintf("%s_%032x", kind, 0x01a21a00+i) }

func (f *fakeAPI) whoami() api.WhoAmI {
	scopes := f.scopes
	if scopes == nil {
		scopes = []string{"*", "admin"}
	}
	mode := f.auth
	if mode == "" {
		mode = "off"
	}
	return api.WhoAmI{Tenant: "default", Subject: firstOf(f.subject, f.say(1)), Scopes: scopes, Auth: mode}
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	if r.URL.Path == "/whoami" {
		writeJSON(w, 200, f.whoami())
		return
	}
	if f.refuses != 0 {
		writeJSON(w, f.refuses, api.Problem{Title: "It is refused.", Status: f.refuses, Code: "store_unavailable", Detail: f.say(2), Retryable: true})
		return
	}
	body := f.answer(r)
	if body == nil {
		writeJSON(w, 404, api.Problem{Title: "There is none.", Status: 404, Code: "task_not_found", Detail: f.say(3)})
		return
	}
	writeJSON(w, 200, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fakeAPI) answer(r *http.Request) any {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	one := len(parts) > 1
	switch parts[0] {
	case "stats":
		if one {
			return f.history()
		}
		return f.stats()
	case "agents":
		return api.AgentList{Agents: f.agents()}
	case "problems":
		return api.ProblemList{Problems: []api.ProblemPage{{Code: "agent_failed", Title: "The agent failed.", Fault: "agent", Retryable: true}, {Code: "task_not_found", Title: "There is no such task.", Status: 404}}}
	case "tasks":
		return f.tasksAnswer(r, parts)
	case "sessions":
		return f.sessionsAnswer(parts)
	case "webhooks":
		if one {
			return f.webhook(0)
		}
		return api.WebhookList{Webhooks: times(f.n, f.webhook)}
	case "deliveries":
		if one && parts[1] == "bulk" {
			return api.BulkDone{Matched: f.n}
		}
		if one {
			return f.delivery(0)
		}
		all := slices.DeleteFunc(times(min(f.n, 500), f.delivery), func(d api.Delivery) bool {
			status := r.URL.Query().Get("status")
			return status != "" && d.Status != status
		})
		return api.DeliveryList{Deliveries: limited(r, all), NextCursor: f.cursor()}
	case "schedules":
		return f.schedulesAnswer(parts)
	case "hooks":
		return f.hooksAnswer(parts)
	case "version":
		return api.Version{Version: "1.4.0", Commit: "9d53f40aa1b2", Go: "go1.27", NATS: "2.15.2"}
	case "budgets":
		return api.BudgetList{Budgets: times(min(f.n, 2), f.budget)}
	}
	return nil
}

func (f *fakeAPI) cursor() string {
	if f.n > 1 {
		return "more"
	}
	return ""
}

// limited is a page, as long as was asked for.
func limited[T any](r *http.Request, all []T) []T {
	if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
		return all[:min(n, len(all))]
	}
	return all
}

func times[T any](n int, one func(int) T) []T {
	all := []T{}
	for i := range n {
		all = append(all, one(i))
	}
	return all
}

func (f *fakeAPI) tasksAnswer(r *http.Request, parts []string) any {
	switch {
	case len(parts) == 1:
		switch r.URL.Query().Get("parent_id") {
		case "":
		case fakeID("tsk", 0):
			return api.TaskList{Tasks: times(min(f.n, 2), f.child)}
		default:
			return api.TaskList{Tasks: times(1, func(int) api.Task { t := f.child(0); t.TaskID, t.Children = fakeID("tsk", 9), nil; return t })}
		}
		return api.TaskList{Tasks: limited(r, f.tasksOf(r.URL.Query().Get("status"))), NextCursor: f.cursor()}
	case parts[1] == "bulk":
		return api.BulkDone{Matched: f.n * 50}
	case len(parts) == 2:
		if parts[1] == fakeID("tsk", 999) {
			return nil
		}
		t := f.task(0)
		if i := strings.LastIndex(parts[1], "e0"); i > 0 { // any of them
			t.TaskID = parts[1]
		}
		return t
	}
	switch parts[2] {
	case "events":
		events := []map[string]any{{"id": 1, "type": "status", "data": f.task(0)}, {"id": 2, "type": "progress", "data": f.task(0)}, {"id": 3, "type": "milestone", "data": api.Milestone{N: 1, Name: f.say(4), Message: f.say(5), At: past(9)}}}
		return map[string]any{"events": events[:min(len(events), f.n)]}
	case "steps":
		return api.StepList{Steps: times(min(f.n, 12), f.step)}
	case "deliveries":
		return api.DeliveryList{Deliveries: times(min(f.n, 3), f.delivery)}
	}
	return f.task(0)
}

// base is when the fixtures' present is.
var base = time.Now().Add(-30 * time.Second).Truncate(time.Second)

func past(seconds int) time.Time { return base.Add(-time.Duration(seconds) * time.Second) }

var stateCycle = []string{"processing", "completed", "failed", "pending", "completed", "input_required", "completed", "canceled"}

func (f *fakeAPI) tasksOf(status string) []api.Task {
	var all []api.Task
	for i := range min(f.n, 500) { // the most that a page has
		if t := f.task(i); status == "" || strings.Contains(status, t.Status) {
			all = append(all, t)
		}
	}
	return all
}

func (f *fakeAPI) task(i int) api.Task {
	t := api.Task{
		TaskID: fakeID("tsk", i), Kind: "task", Status: stateCycle[i%len(stateCycle)], Agent: f.agentName(i), Attempt: 1 + i%2, MaxAttempts: 3,
		Message: f.say(6 + i), Labels: map[string]string{"team": f.word(i), "env": "prod"}, CreatedAt: past(60 + 20*i), UpdatedAt: past(10 + 20*i), StartedAt: past(58 + 20*i),
		TraceID: "0af7651916cd43dd8448eb211c80319c", StatusURL: "/tasks/" + fakeID("tsk", i), Input: raw(map[string]any{"text": f.say(i), "n": json.Number("12345678901234567890")}),
	}
	t.Attempts = []api.Attempt{{Attempt: 1, Outcome: "running", WorkerID: fakeID("wrk", 1), StartedAt: past(58)}}
	switch t.Status {
	case "completed":
		t.Done, t.FinishedAt, t.Result = true, past(20*i), raw(map[string]any{"answer": f.say(i)})
	case "failed":
		t.Done, t.FinishedAt = true, past(20*i)
		t.Error = &api.TaskError{Error: api.Error{Code: "agent_failed", Message: f.say(i), Attempt: 2}, Detail: f.say(i + 1)}
	case "canceled":
		t.Done, t.FinishedAt, t.StoppedAt = true, past(20*i), past(20*i)
	case "pending":
		t.Attempt, t.StartedAt, t.Attempts = 0, time.Time{}, nil
		t.Waiting = &api.Waiting{Reason: "queued", Position: 3}
	case "input_required":
		t.Question = &api.Question{Name: f.say(i), Prompt: f.say(i), Schema: raw(map[string]any{"type": "object", "required": []string{"approve"}, "properties": map[string]any{"approve": map[string]any{"type": "boolean"}, f.say(i): map[string]any{"type": "string", "description": f.say(i)}}})}
		t.Questions = []api.Question{*t.Question}
	case "processing":
		percent := 40
		t.Percent, t.Progress = &percent, "40%"
		if f.n > 1 {
			t.Children = []string{fakeID("tsk", 1), fakeID("tsk", 2)}
		}
	}
	return t
}

func (f *fakeAPI) stepName(i int) string {
	if f.subject != "" {
		return []string{"plan", "fetch sources", "rank", "wait for quota", "draft", "review"}[i%6]
	}
	return f.say(i)
}

// word is a short text, where texts are plain.
func (f *fakeAPI) word(i int) string {
	if f.subject != "" {
		return []string{"search", "support", "finance"}[i%3]
	}
	return f.say(i)
}

// child is a task that the first one has called.
func (f *fakeAPI) child(i int) api.Task {
	t := f.task(1 + 3*i)
	t.ParentID, t.CreatedAt, t.StartedAt, t.FinishedAt = fakeID("tsk", 0), past(40-12*i), past(39-12*i), past(22-12*i)
	t.Agent = []string{"summarize", "echo"}[i%2]
	if i == 0 {
		t.Children = []string{fakeID("tsk", 9)}
	}
	return t
}

func raw(v any) json.RawMessage {
	b, _ := json.Marshal(v)
	return b
}

func (f *fakeAPI) agentName(i int) string {
	return []string{"research", "summarize", "triage", "echo"}[i%4]
}

func (f *fakeAPI) step(i int) api.Step {
	s := api.Step{Kind: []string{"step", "step", "sleep", "answer"}[i%4], Name: f.stepName(i), N: i / 6, Attempt: 1, At: past(52 - 4*i), MS: int64(400 + 300*i), Bytes: 240, Value: raw(f.say(i))}
	if i == 5 {
		s.Error = &api.Error{Code: "agent_failed", Message: f.say(i)}
	}
	return s
}

var deliveryCycle = []string{"delivered", "retrying", "dead", "delivered", "parked", "pending"}

func (f *fakeAPI) delivery(i int) api.Delivery {
	d := api.Delivery{
		DeliveryID: fakeID("dlv", i), EventID: fakeID("evt", i), Type: "task.completed", TaskID: fakeID("tsk", i), Agent: f.agentName(i), WebhookID: fakeID("whk", i%2), URL: "https://hooks.example.com/in?x=" + f.say(i),
		Status: deliveryCycle[i%len(deliveryCycle)], CreatedAt: past(50 + 60*i), UpdatedAt: past(40 + 60*i), Payload: raw(map[string]any{"type": "task.completed", "text": f.say(i)}), TraceID: "0af7651916cd43dd8448eb211c80319c",
	}
	d.Attempts = []api.DeliveryAttempt{{At: past(40), URL: d.URL, StatusCode: 503, DurationMS: 120, Class: "server_error", Error: f.say(i), Answer: f.say(i), NextAt: past(20)}}
	if d.Status == "delivered" {
		d.Attempts = append(d.Attempts, api.DeliveryAttempt{At: past(20), URL: d.URL, StatusCode: 204, DurationMS: 80, Class: "success"})
	}
	if d.Status == "retrying" {
		d.NextAt = time.Now().Add(4 * time.Minute)
	}
	return d
}

func (f *fakeAPI) agents() []api.Agent {
	return times(min(f.n, 1000), func(i int) api.Agent {
		a := api.Agent{
			Name: f.agentName(i), Description: f.say(i), Version: "1.4." + fmt.Sprint(i), Default: i == 0, Concurrency: 4, MaxInFlight: 32, Timeout: "5m0s", MaxAttempts: 3, LiveWorkers: (i + 2) % 3,
			InputSchema: raw(map[string]any{"type": "object", "required": []string{"text"}, "properties": map[string]any{
				"text": map[string]any{"type": "string", "description": f.say(i)}, "sentences": map[string]any{"type": "integer", "minimum": 1, "default": 3},
				"style": map[string]any{"enum": []string{"plain", "formal", f.say(i)}}, "tags": map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
				"urgent": map[string]any{"type": "boolean"}, "source": map[string]any{"oneOf": []any{map[string]any{"title": "By URL", "type": "object", "properties": map[string]any{"url": map[string]any{"type": "string"}}}, map[string]any{"title": "Text", "type": "string"}}},
			}}),
		}
		if i >= 4 {
			a.Name = fmt.Sprintf("%s-%d", a.Name, i)
		}
		for w := range a.LiveWorkers {
			a.Workers = append(a.Workers, api.AgentWorker{WorkerID: fakeID("wrk", w), Version: a.Version, Slots: 4, Busy: w, StartedAt: past(7200)})
		}
		return a
	})
}

func (f *fakeAPI) stats() api.Stats {
	s := api.Stats{At: base, Scheduled: f.n * 2, Sessions: f.n, Storage: api.StorageStats{Used: 48 << 20, Limit: 4 << 30}, Deliveries: api.DeliveryStats{Due: f.n, Scheduled: f.n}}
	for i, a := range f.agents() {
		s.Agents = append(s.Agents, api.AgentStats{Name: a.Name, Waiting: (i * 7) % 23, OldestAge: float64(i) * 3.4, InFlight: i % 5, Limit: 32, LiveWorkers: a.LiveWorkers, Slots: a.LiveWorkers * 4})
	}
	for i := range min(f.n, 1000) {
		s.Workers = append(s.Workers, api.WorkerStats{WorkerID: fakeID("wrk", i), Host: fmt.Sprintf("node-%d", i+1), StartedAt: past(3600 * (i + 1)), SeenAt: past(7 * i), Agents: []string{"research", "triage"}, Slots: 8, Busy: i % 4})
	}
	return s
}

func (f *fakeAPI) session(i int) api.Session {
	s := api.Session{SessionID: fakeID("ses", i), Agent: f.agentName(i), Busy: i%3 == 0, Turns: 3 + i, Messages: 6, CreatedAt: past(600), UpdatedAt: past(30 * i), ExpiresAt: time.Now().Add(23 * time.Hour), State: raw(map[string]any{"topic": f.say(i)})}
	if s.Busy {
		s.OpenTurn = fakeID("tsk", 0)
	}
	return s
}

func (f *fakeAPI) sessionsAnswer(parts []string) any {
	switch {
	case len(parts) == 1:
		return api.SessionList{Sessions: times(min(f.n, 50), f.session), NextCursor: f.cursor()}
	case len(parts) == 2:
		return f.session(0)
	case parts[2] == "messages":
		return api.Transcript{SessionID: fakeID("ses", 0), First: 1, Messages: times(min(f.n*2, 8), func(i int) api.Message {
			return api.Message{Role: []string{"user", "agent"}[i%2], Text: f.say(i), At: past(300 - 20*i), TurnID: fakeID("trn", i/2), Interrupted: i == 4}
		})}
	}
	return nil
}

func (f *fakeAPI) webhook(i int) api.Webhook {
	return api.Webhook{
		WebhookID: fakeID("whk", i), URL: "https://hooks.example.com/" + f.say(i), Description: f.say(i), Events: []string{"task.completed", "task.failed"}, Agents: []string{}, Enabled: i%2 == 0, DisabledReason: f.say(i), DisabledAt: past(300),
		Keys: []api.Key{{ID: fakeID("key", i), Scheme: "v1", CreatedAt: past(900)}}, Headers: []string{f.say(i)}, CreatedAt: past(9000), UpdatedAt: past(900),
	}
}

func (f *fakeAPI) schedulesAnswer(parts []string) any {
	one := func(i int) api.Schedule {
		return api.Schedule{ScheduleID: fakeID("sch", i), Name: f.say(i), Cron: []string{"0 2 * * *"}, Timezone: "Europe/Berlin", Task: &api.ScheduleTask{Work: api.Work{Agent: "research"}, Input: raw(f.say(i))}, Overlap: "skip", CatchUp: api.ScheduleCatchUp{Policy: "one", Window: "24h"}, NextAt: []time.Time{time.Now().Add(5 * time.Hour)}, Paused: i%3 == 2, Note: f.say(i), Counts: api.ScheduleCounts{Fired: 40 + i, Failed: i}}
	}
	switch len(parts) {
	case 1:
		return api.ScheduleList{Schedules: times(f.n, one)}
	case 2:
		return one(0)
	}
	return api.ScheduleRuns{Runs: times(min(f.n, 20), func(i int) api.ScheduleRun {
		return api.ScheduleRun{ScheduledAt: past(3600 * i), DecidedAt: past(3600 * i), Outcome: []string{"fired", "skipped", "missed"}[i%3], TaskID: fakeID("tsk", i), Status: "completed", Reason: f.say(i)}
	})}
}

func (f *fakeAPI) hooksAnswer(parts []string) any {
	one := func(i int) api.Hook {
		return api.Hook{HookID: fakeID("hok", i), URL: "https://mesh.example.com/hooks/in/" + fakeID("hok", i), Name: f.say(i), Verify: api.HookVerify{Style: "github"}, Task: &api.HookTask{Work: api.Work{Agent: "triage", Instruction: f.say(i)}}, MaxBody: 1 << 20, Note: f.say(i), CreatedAt: past(9000), UpdatedAt: past(90)}
	}
	switch len(parts) {
	case 1:
		return api.HookList{Hooks: times(f.n, one)}
	case 2:
		return one(0)
	}
	return api.HookRecent{Deliveries: times(min(f.n, 20), func(i int) api.HookReceipt {
		return api.HookReceipt{At: past(60 * i), DeliveryID: f.say(i), Outcome: []string{"accepted", "rejected", "ignored"}[i%3], Cause: f.say(i), TaskID: fakeID("tsk", i), Size: 2048, Body: f.say(i)}
	}), Counts: api.HookCounts{Accepted: f.n}}
}

func (f *fakeAPI) budget(i int) api.Budget {
	b := api.Budget{Period: []string{"day", "month"}[i%2], Start: past(50_000), End: past(-36_400), Tokens: 5_000_000, Cost: 20, Spent: api.Spent{Tokens: 3_912_400, Cost: 6.482},
		Held: api.Spent{Tokens: 150_000, Cost: .6}, Agents: []string{"research", "triage"}, ByAgent: []api.SpentName{{Name: "research", Tokens: 3_100_000, Cost: 5.9}, {Name: "triage", Tokens: 812_400, Cost: .582}}, ByModel: []api.SpentName{{Name: f.say(i), Tokens: 3_912_400, Cost: 6.482}}}
	if i == 1 {
		b.Tokens, b.Exhausted, b.Spent, b.Held = 0, true, api.Spent{Tokens: 91_000_000, Cost: 20}, api.Spent{}
	}
	return b
}

// history is an hour of a mesh that has something to do.
func (f *fakeAPI) history() api.StatsHistory {
	h := api.StatsHistory{From: past(900), To: base, Step: 10}
	for i := range 90 {
		wave := 30 + (i*7)%23 + i/3
		p := api.HistoryPoint{At: past(900 - 10*i), HistoryCounts: api.HistoryCounts{Accepted: wave, Completed: wave - 3, Failed: (i * 5) % 4, P50: float64(420 + (i*13)%90), P95: float64(1800 + (i*37)%700)}}
		p.Now = &api.HistoryGauge{Waiting: i % 17, InFlight: 12, OldestAge: float64(i%17) * 0.6}
		h.Points = append(h.Points, p)
	}
	if f.n > 1 {
		h.Agents = []api.HistoryAgent{{Name: "research", HistoryCounts: api.HistoryCounts{Completed: 93, Failed: 7}}}
		h.Calls = []api.HistoryCalls{{Caller: "triage", Callee: "research", Calls: 140, Failed: 3}, {Caller: "research", Callee: "summarize", Calls: 96}, {Caller: "triage", Callee: "echo", Calls: 12}}
	}
	return h
}

// inbox is a receiver that has got something.
func (f *fakeAPI) inbox(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		writeJSON(w, 200, map[string]any{})
		return
	}
	writeJSON(w, 200, map[string]any{"answer": map[string]any{"status": 503, "delay": "2s"}, "requests": times(min(f.n, 10), func(i int) client.InboxRequest {
		r := client.InboxRequest{N: i + 1, At: past(10 * i), Method: "POST", Path: "/done?x=" + f.say(i), Headers: map[string]string{"webhook-id": fakeID("dlv", i), "x-own": f.say(i)}, Body: f.say(i), Status: 503, SignedBy: "callbacks"}
		if i%3 == 2 {
			r.SignedBy, r.Refused = "", "no_signature_matches: "+f.say(i)
		}
		return r
	})})
}

// plain are texts as people write them.
func plain(i int) string {
	return []string{
		"Summarise the quarterly report", "Reads the ticket and decides who answers it", "Which flights go to Tokyo in May?", "The receiver answered 503", "Looking at 12 of 40 sources",
		"Book the cheaper one", "nightly-report", "Answers questions about the handbook, with sources",
	}[i%8]
}
