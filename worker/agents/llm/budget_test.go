package llm_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agents/llm"
	"agentmesh/worker/agents/llm/llmtest"
)

func (d *desk) budgets() []api.Budget {
	return meshtest.Decode[api.BudgetList](d.T, d.Do("GET", "/budgets", "").Body).Budgets
}

// budgeted has every agent of a file know its budgets, as agents.yaml does.
func (d *desk) budgeted(f llm.File, workers int) {
	for range workers {
		all := d.agents(f)
		for i := range all {
			all[i].Budgets, all[i].Concurrency = f.Budgets, 20
		}
		st, _ := d.OpenStore()
		d.WorkWith(worker.Default(), st, all...)
	}
}

// A budget of 100 tokens holds, however many tasks of however many workers want some.
func TestABudgetIsNeverOverdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{})
		f.Budgets = []task.Budget{{Tenant: "*", Period: task.Daily, Tokens: 100}}
		d := &desk{Mesh: meshtest.New(t), model: llmtest.New(llmtest.Replies(llmtest.Reply{Text: "yes", Input: 2, Output: 3, Delay: 100 * time.Millisecond}))}
		d.budgeted(f, 3)
		var ids []string
		for i := range 50 {
			ids = append(ids, d.Create(`{"agent":"helper","input":`+strconv.Itoa(i)+`}`))
		}
		done, spent := 0, int64(0)
		for _, id := range ids {
			v := d.End(id)
			if v.Status == "completed" {
				done++
			} else if v.Error.Code != "budget_exhausted" || v.Attempt != 1 {
				t.Errorf("%s %+v", v.Status, v.Error)
			}
			if v.Usage != nil {
				spent += v.Usage.InputTokens + v.Usage.OutputTokens
			}
		}
		if n := len(d.model.Asked()); spent > 100 || done < 10 || n*5 > 100 {
			t.Errorf("%d tasks of 50 were done, in %d calls, for %d tokens", done, n, spent)
		}
		time.Sleep(time.Minute)
		b := d.budgets()
		if len(b) != 1 || b[0].Spent.Tokens != spent || b[0].Held.Tokens != 0 || b[0].ByAgent[0].Tokens != spent || b[0].ByModel[0].Name != "default" {
			t.Errorf("%+v, spent %d", b, spent)
		}
	})
}

// What is used up is refused before it is accepted, until the period is over.
func TestABudgetThatIsUsedUpRefusesNewTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{})
		f.Models = map[string]llm.Model{"default": priced(&llm.Price{Input: 1_000_000, Cached: 1_000_000, Output: 1_000_000, Currency: "USD"})}
		f.Budgets = []task.Budget{{Tenant: "default", Period: task.Hourly, Cost: 100, WarnAt: 0.5}, {Tenant: "*", Period: task.Hourly, Cost: 1}}
		d := &desk{Mesh: meshtest.New(t), model: llmtest.New(llmtest.Replies(llmtest.Reply{Text: "yes", Input: 10, Output: 90}))}
		d.budgeted(f, 1)
		if v := d.run(ask); v.Status != "completed" || v.Usage.Cost != 0.0001 {
			t.Fatalf("%s %+v %+v", v.Status, v.Usage, v.Error)
		}
		time.Sleep(time.Minute)
		w := d.Do("POST", "/tasks", ask)
		wait, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != 429 || !strings.Contains(w.Body.String(), "quota_exceeded") || wait < 3400 || wait > 3600 {
			t.Errorf("%d, after %d: %s", w.Code, wait, w.Body)
		}
		time.Sleep(time.Duration(wait) * time.Second)
		if v := d.run(ask); v.Status != "completed" {
			t.Errorf("in the next hour: %s %+v", v.Status, v.Error)
		}
	})
}

// Whichever way work comes in by, it is refused before it is accepted: no record, no
// turn and no session's queue knows of it. What was accepted before gets its first answer.
func TestABudgetThatIsUsedUpRefusesWorkWhicheverWayItComesIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := one(llm.Config{})
		f.Budgets = []task.Budget{{Tenant: "*", Period: task.Hourly, Tokens: 100}}
		d := &desk{Mesh: meshtest.New(t), model: llmtest.New(llmtest.Replies(llmtest.Reply{Status: 401}, llmtest.Reply{Text: "yes", Input: 10, Output: 90}))}
		d.budgeted(f, 1)
		core := mesh.New(d.Store, mesh.Options{Log: meshtest.Quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- core.Run(ctx) }()
		defer func() { cancel(); <-ended; core.Close() }()
		made := func(path, body string) map[string]any {
			w := d.Do("POST", path, body)
			if w.Code >= 300 {
				t.Fatalf("POST %s = %d %s", path, w.Code, w.Body)
			}
			return meshtest.Decode[map[string]any](t, w.Body)
		}
		hook := func(does string) string {
			return "/hooks/" + made("/hooks", `{"verify":{"style":"token","header":"X-Token","id":"none","secrets":["let me in"]},`+does+`}`)["hook_id"].(string)
		}
		failed := d.Create(ask)
		d.End(failed)
		session := d.Session("helper")
		every := "/schedules/" + made("/schedules", `{"every":"10m","task":{"agent":"helper","instruction":"tick"}}`)["schedule_id"].(string)
		says := "/schedules/" + made("/schedules", `{"every":"10m","message":{"session_id":"`+session+`","text":"tick"}}`)["schedule_id"].(string)
		starts, talks := hook(`"task":{"agent":"helper"}`), hook(`"session":{"agent":"helper","key":"/k","text":"/t"}`)
		first := d.Do("POST", "/tasks", ask, "Idempotency-Key", "k1").Body.String()
		time.Sleep(time.Minute) // the budget is spent, and the account knows
		asked := len(d.model.Asked())

		const rpc = `{"jsonrpc":"2.0","id":1,"method":`
		for _, way := range []struct{ path, body, header, value string }{
			{"/tasks", ask, "", ""},
			{"/actions", `{"agent":"helper","instruction":"x","callback_url":"http://127.0.0.1:9/x"}`, "", ""},
			{"/tasks/" + failed + "/retry", "", "", ""},
			{"/sessions/" + session + "/messages", `{"text":"hello"}`, "", ""},
			{starts, `{"k":"a"}`, "X-Token", "let me in"},
			{talks, `{"k":"a","t":"hello"}`, "X-Token", "let me in"},
			{"/agents/helper/a2a/v1/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}}`, "A2A-Version", "1.0"},
			{"/mcp", rpc + `"tools/call","params":{"name":"helper","arguments":{"instruction":"x"}}}`, "MCP-Protocol-Version", "2025-11-25"},
		} {
			headers := []string{"Accept", "application/json, text/event-stream"}
			if way.header != "" {
				headers = append(headers, way.header, way.value)
			}
			w := d.Do("POST", way.path, way.body, headers...)
			text, code := w.Body.String(), 429
			switch {
			case way.path == "/mcp":
				code = 200
			case way.header == "X-Token": // its sender is a stranger: the owner reads why
				text, code = d.Do("GET", way.path+"/recent", "").Body.String(), 503
			}
			if !strings.Contains(text, "budget of the hour") || w.Code != code || code != 200 && w.Header().Get("Retry-After") < "3000" {
				t.Errorf("POST %s = %d %v %s, %s", way.path, w.Code, w.Header(), w.Body, text)
			}
		}
		time.Sleep(20 * time.Minute)
		for _, path := range []string{every, says} {
			runs := d.Do("GET", path+"/runs", "").Body.String()
			if !strings.Contains(runs, `"outcome":"refused"`) || !strings.Contains(runs, "quota_exceeded: The tenant has used up its budget of the hour") || strings.Contains(runs, `"outcome":"fired"`) {
				t.Errorf("%s: %s", path, runs)
			}
		}
		if v := d.Do("GET", "/sessions/"+session, "").Body.String(); !strings.Contains(v, `"turns":0`) || len(d.model.Asked()) != asked {
			t.Errorf("%s, asked %d times", v, len(d.model.Asked())-asked)
		}
		if w := d.Do("POST", "/tasks", ask, "Idempotency-Key", "k1"); w.Code != 202 || w.Body.String() != first {
			t.Errorf("a repeat: %d %s, want %s", w.Code, w.Body, first)
		}
		time.Sleep(40 * time.Minute)
		if runs := d.Do("GET", every+"/runs", "").Body.String(); !strings.Contains(runs, `"outcome":"fired"`) {
			t.Errorf("in the next hour: %s", runs)
		}
	})
}

// A worker that is gone takes its allowance with it: it counts as spent, and no more.
func TestTheAllowanceOfAWorkerThatIsGoneIsSpent(t *testing.T) {
	at := time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)
	a := task.NewAccount("t", task.Budget{Period: task.Monthly, Tokens: 100}, at)
	give := func(worker string, want int64, after time.Duration) int64 {
		return a.Take(task.Claim{Worker: worker, Want: task.Amount{Tokens: want}}, at.Add(after)).Tokens
	}
	got := fmt.Sprint(give("dead", 60, 0), give("alive", 60, time.Minute), give("alive", 60, 2*time.Minute), give("alive", 60, 4*time.Minute), a.Spent.Tokens, a.End.Day())
	if got != "60 40 40 40 60 1" {
		t.Error(got)
	}
}
