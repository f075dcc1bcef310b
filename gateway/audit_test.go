package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/echo"
)

// Whoever runs the mesh reads who canceled a task, from where, and in which trace.
func TestTheAuditTrailIsReadByHTTP(t *testing.T) {
	m := meshtest.New(t)
	_, c := m.Serve()
	m.Work(echo.Agent())
	id := m.Create(`{"agent":"echo","input":1,"delay":"1h"}`)
	if _, err := c.Tasks.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	page, next, err := c.Audit.List(t.Context(), client.AuditFilter{Object: id, Action: "task.cancel"}, "")
	if err != nil || next != "" || len(page) != 1 || page[0].Address != "127.0.0.1" || page[0].Tenant != "default" || page[0].Outcome != "done" || len(page[0].TraceID) != 32 || page[0].At.IsZero() {
		t.Errorf("%+v, next %q, %v", page, next, err)
	}
	natstest.Until(t, "who made the task is there, too", func() bool {
		n := 0
		for e, err := range c.Audit.All(t.Context(), client.AuditFilter{Object: id, Limit: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; e.Action != "task.cancel" && e.Action != "task.create" {
				t.Errorf("%+v", e)
			}
		}
		return n == 2
	})
	for path, status := range map[string]int{
		"/audit?action=task.eat": 422, "/audit?tenant=a.b": 422, "/audit?after=noon": 400, "/audit?cursor=x": 400, "/audit?who=me": 400, "/audit?before=2020-01-01T00:00:00Z": 200,
	} {
		if w := m.Do(http.MethodGet, path, ""); w.Code != status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// leaves says which entry of the audit trail an operation leaves.
var leaves = map[string]string{
	"createTask": "task.create", "createAction": "task.create", "cancelTask": "task.cancel", "cancelAction": "task.cancel", "cancelTurn": "task.cancel",
	"deleteTask": "task.delete", "bulkTasks": "task.bulk", "bulkDeliveries": "delivery.bulk", "forkSession": "session.fork", "pauseAgent": "agent.pause", "resumeAgent": "agent.resume",
	"answerTask": "task.answer", "answerAction": "task.answer",
	"retryTask": "task.retry", "retryAction": "task.retry", "redeliverAction": "task.redeliver", "redeliver": "delivery.redeliver",
	"createSession": "session.open", "postMessage": "session.message", "deleteSession": "session.delete",
	"createWebhook": "webhook.create", "updateWebhook": "webhook.update", "deleteWebhook": "webhook.delete", "rotateSecret": "webhook.rotate",
	"testWebhook": "webhook.test", "redeliverWebhook": "webhook.redeliver",
	"createKey": "key.create", "rotateKey": "key.rotate", "revokeKey": "key.revoke", "setTenant": "tenant.set", "deleteTenant": "tenant.delete",
	"deleteAgent": "agent.delete", "createSchedule": "schedule.create", "putSchedule": "schedule.update", "updateSchedule": "schedule.update",
	"pauseSchedule": "schedule.pause", "resumeSchedule": "schedule.resume", "triggerSchedule": "schedule.trigger",
	"createHook": "hook.create", "updateHook": "hook.update", "pauseHook": "hook.pause", "resumeHook": "hook.resume", "rotateHookSecret": "hook.rotate", "deleteHook": "hook.delete",
	"receiveHook": "task.create", "backfillSchedule": "schedule.backfill", "deleteSchedule": "schedule.delete",
}

// audited fails for an operation that was asked to change something and left no
// entry in the trail.
func (i *inspector) audited(t *testing.T) {
	t.Helper()
	time.Sleep(time.Minute)
	found := map[string]bool{}
	for path := "/audit?limit=200"; path != ""; {
		page := meshtest.Decode[api.AuditList](t, i.m.Do("GET", path, "").Body)
		for _, e := range page.Entries {
			found[e.Action] = true
		}
		if path = ""; page.NextCursor != "" {
			path = "/audit?limit=200&cursor=" + page.NextCursor
		}
	}
	for _, methods := range i.doc.Paths {
		for method, op := range methods {
			switch action := leaves[op.ID]; {
			case method == "get", method == "head", op.ID == "previewSchedule", op.ID == "verifySignature": // it only reads
			case op.ID == "tellStep": // the journal of the task has it
			case action == "":
				t.Errorf("%s changes something: say in leaves which entry of the audit trail it leaves", op.ID)
			case i.asked[op.ID] && !found[action]:
				t.Errorf("%s was called, and no %s is in the audit trail", op.ID, action)
			}
		}
	}
}
