"""Written by make golden from the gateway's own document. Do not edit it."""

from __future__ import annotations

from typing import Any

from . import types
from ._calls import Noun, Pages, Stream

OPERATIONS: dict[str, dict] = {
    "getIndex": {"name":"getIndex","method":"GET","path":"/"},
    "webhookKeys": {"name":"webhookKeys","method":"GET","path":"/.well-known/webhooks/jwks.json","query":["tenant"]},
    "createAction": {"noun":"actions","name":"create","method":"POST","path":"/actions","body":True,"key":True,"wait":True},
    "getAction": {"noun":"actions","name":"get","method":"GET","path":"/actions/{id}","params":["id"],"query":["include"],"wait":True},
    "cancelAction": {"noun":"actions","name":"cancel","method":"POST","path":"/actions/{id}/cancel","params":["id"]},
    "actionDeliveries": {"noun":"actions","name":"deliveries","method":"GET","path":"/actions/{id}/deliveries","params":["id"]},
    "actionEvents": {"noun":"actions","name":"events","method":"GET","path":"/actions/{id}/events","params":["id"],"query":["after"],"stream":True},
    "getActionInput": {"noun":"actions","name":"getInput","method":"GET","path":"/actions/{id}/input","params":["id"]},
    "answerAction": {"noun":"actions","name":"answer","method":"POST","path":"/actions/{id}/input","params":["id"],"body":True,"key":True},
    "redeliverAction": {"noun":"actions","name":"redeliver","method":"POST","path":"/actions/{id}/redeliver","params":["id"]},
    "getActionResult": {"noun":"actions","name":"getResult","method":"GET","path":"/actions/{id}/result","params":["id"]},
    "retryAction": {"noun":"actions","name":"retry","method":"POST","path":"/actions/{id}/retry","params":["id"],"body":True,"key":True,"wait":True},
    "actionSteps": {"noun":"actions","name":"steps","method":"GET","path":"/actions/{id}/steps","params":["id"],"query":["include","limit","cursor"],"items":"steps","next":"next_cursor","from":"cursor"},
    "listAgents": {"noun":"agents","name":"list","method":"GET","path":"/agents"},
    "deleteAgent": {"noun":"agents","name":"delete","method":"DELETE","path":"/agents/{name}","params":["name"]},
    "getAgent": {"noun":"agents","name":"get","method":"GET","path":"/agents/{name}","params":["name"]},
    "pauseAgent": {"noun":"agents","name":"pause","method":"POST","path":"/agents/{name}/pause","params":["name"],"body":True},
    "resumeAgent": {"noun":"agents","name":"resume","method":"POST","path":"/agents/{name}/resume","params":["name"]},
    "listAudit": {"name":"listAudit","method":"GET","path":"/audit","query":["tenant","action","object","key_id","after","before","limit","cursor"],"items":"entries","next":"next_cursor","from":"cursor"},
    "listBudgets": {"name":"listBudgets","method":"GET","path":"/budgets"},
    "listDeliveries": {"noun":"deliveries","name":"list","method":"GET","path":"/deliveries","query":["status","webhook_id","type","class","since","limit","cursor"],"items":"deliveries","next":"next_cursor","from":"cursor"},
    "bulkDeliveries": {"noun":"deliveries","name":"bulk","method":"POST","path":"/deliveries/bulk","body":True},
    "getDelivery": {"noun":"deliveries","name":"get","method":"GET","path":"/deliveries/{id}","params":["id"]},
    "redeliver": {"noun":"deliveries","name":"redeliver","method":"POST","path":"/deliveries/{id}/redeliver","params":["id"]},
    "allEvents": {"name":"allEvents","method":"GET","path":"/events","query":["type","agent","label.{key}","after"],"stream":True},
    "healthz": {"name":"healthz","method":"GET","path":"/healthz"},
    "listHooks": {"noun":"hooks","name":"list","method":"GET","path":"/hooks"},
    "createHook": {"noun":"hooks","name":"create","method":"POST","path":"/hooks","body":True},
    "deleteHook": {"noun":"hooks","name":"delete","method":"DELETE","path":"/hooks/{id}","params":["id"]},
    "getHook": {"noun":"hooks","name":"get","method":"GET","path":"/hooks/{id}","params":["id"]},
    "updateHook": {"noun":"hooks","name":"update","method":"PATCH","path":"/hooks/{id}","params":["id"],"body":True},
    "receiveHook": {"noun":"hooks","name":"receive","method":"POST","path":"/hooks/{id}","params":["id"]},
    "pauseHook": {"noun":"hooks","name":"pause","method":"POST","path":"/hooks/{id}/pause","params":["id"],"body":True},
    "recentHook": {"noun":"hooks","name":"recent","method":"GET","path":"/hooks/{id}/recent","params":["id"]},
    "resumeHook": {"noun":"hooks","name":"resume","method":"POST","path":"/hooks/{id}/resume","params":["id"]},
    "rotateHookSecret": {"noun":"hooks","name":"rotateSecret","method":"POST","path":"/hooks/{id}/rotate-secret","params":["id"],"body":True},
    "listKeys": {"noun":"keys","name":"list","method":"GET","path":"/keys","query":["tenant"]},
    "createKey": {"noun":"keys","name":"create","method":"POST","path":"/keys","body":True,"key":True},
    "revokeKey": {"noun":"keys","name":"revoke","method":"DELETE","path":"/keys/{id}","params":["id"],"query":["force"]},
    "getKey": {"noun":"keys","name":"get","method":"GET","path":"/keys/{id}","params":["id"]},
    "rotateKey": {"noun":"keys","name":"rotate","method":"POST","path":"/keys/{id}/rotate","params":["id"],"body":True},
    "listProblems": {"noun":"problems","name":"list","method":"GET","path":"/problems"},
    "getProblem": {"noun":"problems","name":"get","method":"GET","path":"/problems/{code}","params":["code"]},
    "readyz": {"name":"readyz","method":"GET","path":"/readyz"},
    "listSchedules": {"noun":"schedules","name":"list","method":"GET","path":"/schedules"},
    "createSchedule": {"noun":"schedules","name":"create","method":"POST","path":"/schedules","body":True},
    "previewSchedule": {"noun":"schedules","name":"preview","method":"POST","path":"/schedules/preview","body":True},
    "deleteSchedule": {"noun":"schedules","name":"delete","method":"DELETE","path":"/schedules/{id}","params":["id"]},
    "getSchedule": {"noun":"schedules","name":"get","method":"GET","path":"/schedules/{id}","params":["id"]},
    "updateSchedule": {"noun":"schedules","name":"update","method":"PATCH","path":"/schedules/{id}","params":["id"],"body":True},
    "putSchedule": {"noun":"schedules","name":"put","method":"PUT","path":"/schedules/{id}","params":["id"],"body":True},
    "backfillSchedule": {"noun":"schedules","name":"backfill","method":"POST","path":"/schedules/{id}/backfill","params":["id"],"body":True},
    "pauseSchedule": {"noun":"schedules","name":"pause","method":"POST","path":"/schedules/{id}/pause","params":["id"],"body":True},
    "resumeSchedule": {"noun":"schedules","name":"resume","method":"POST","path":"/schedules/{id}/resume","params":["id"]},
    "scheduleRuns": {"noun":"schedules","name":"runs","method":"GET","path":"/schedules/{id}/runs","params":["id"]},
    "triggerSchedule": {"noun":"schedules","name":"trigger","method":"POST","path":"/schedules/{id}/trigger","params":["id"]},
    "listSessions": {"noun":"sessions","name":"list","method":"GET","path":"/sessions","query":["agent","limit","cursor"],"items":"sessions","next":"next_cursor","from":"cursor"},
    "createSession": {"noun":"sessions","name":"create","method":"POST","path":"/sessions","body":True,"key":True},
    "deleteSession": {"noun":"sessions","name":"delete","method":"DELETE","path":"/sessions/{id}","params":["id"]},
    "getSession": {"noun":"sessions","name":"get","method":"GET","path":"/sessions/{id}","params":["id"],"query":["include"]},
    "sessionEvents": {"noun":"sessions","name":"events","method":"GET","path":"/sessions/{id}/events","params":["id"],"query":["after"],"stream":True},
    "forkSession": {"noun":"sessions","name":"fork","method":"POST","path":"/sessions/{id}/fork","params":["id"],"body":True,"key":True},
    "getMessages": {"noun":"sessions","name":"getMessages","method":"GET","path":"/sessions/{id}/messages","params":["id"],"query":["after","limit"],"items":"messages","next":"next_after","from":"after"},
    "postMessage": {"noun":"sessions","name":"postMessage","method":"POST","path":"/sessions/{id}/messages","params":["id"],"body":True,"key":True,"wait":True},
    "getTurn": {"noun":"sessions","name":"getTurn","method":"GET","path":"/sessions/{id}/turns/{turn_id}","params":["id","turn_id"],"wait":True},
    "cancelTurn": {"noun":"sessions","name":"cancelTurn","method":"POST","path":"/sessions/{id}/turns/{turn_id}/cancel","params":["id","turn_id"]},
    "getStats": {"name":"getStats","method":"GET","path":"/stats"},
    "getStatsHistory": {"name":"getStatsHistory","method":"GET","path":"/stats/history","query":["since","step","agent"]},
    "listTasks": {"noun":"tasks","name":"list","method":"GET","path":"/tasks","query":["status","agent","parent_id","session_id","kind","worker","error","created_after","created_before","label.{key}","order","limit","cursor"],"items":"tasks","next":"next_cursor","from":"cursor"},
    "createTask": {"noun":"tasks","name":"create","method":"POST","path":"/tasks","body":True,"key":True,"wait":True},
    "bulkTasks": {"noun":"tasks","name":"bulk","method":"POST","path":"/tasks/bulk","body":True},
    "deleteTask": {"noun":"tasks","name":"delete","method":"DELETE","path":"/tasks/{id}","params":["id"]},
    "getTask": {"noun":"tasks","name":"get","method":"GET","path":"/tasks/{id}","params":["id"],"query":["include"],"wait":True},
    "cancelTask": {"noun":"tasks","name":"cancel","method":"POST","path":"/tasks/{id}/cancel","params":["id"]},
    "taskDeliveries": {"noun":"tasks","name":"deliveries","method":"GET","path":"/tasks/{id}/deliveries","params":["id"]},
    "taskEvents": {"noun":"tasks","name":"events","method":"GET","path":"/tasks/{id}/events","params":["id"],"query":["after"],"stream":True},
    "getTaskInput": {"noun":"tasks","name":"getInput","method":"GET","path":"/tasks/{id}/input","params":["id"]},
    "answerTask": {"noun":"tasks","name":"answer","method":"POST","path":"/tasks/{id}/input","params":["id"],"body":True,"key":True},
    "getTaskResult": {"noun":"tasks","name":"getResult","method":"GET","path":"/tasks/{id}/result","params":["id"]},
    "retryTask": {"noun":"tasks","name":"retry","method":"POST","path":"/tasks/{id}/retry","params":["id"],"body":True,"key":True,"wait":True},
    "taskSteps": {"noun":"tasks","name":"steps","method":"GET","path":"/tasks/{id}/steps","params":["id"],"query":["include","limit","cursor"],"items":"steps","next":"next_cursor","from":"cursor"},
    "tellStep": {"noun":"tasks","name":"tellStep","method":"POST","path":"/tasks/{id}/steps","params":["id"],"body":True},
    "stepValue": {"noun":"tasks","name":"stepValue","method":"GET","path":"/tasks/{id}/steps/value","params":["id"],"query":["kind","name","n"]},
    "listTenants": {"noun":"tenants","name":"list","method":"GET","path":"/tenants"},
    "deleteTenant": {"noun":"tenants","name":"delete","method":"DELETE","path":"/tenants/{name}","params":["name"]},
    "getTenant": {"noun":"tenants","name":"get","method":"GET","path":"/tenants/{name}","params":["name"]},
    "setTenant": {"noun":"tenants","name":"set","method":"PUT","path":"/tenants/{name}","params":["name"],"body":True},
    "getVersion": {"name":"getVersion","method":"GET","path":"/version"},
    "listWebhooks": {"noun":"webhooks","name":"list","method":"GET","path":"/webhooks"},
    "createWebhook": {"noun":"webhooks","name":"create","method":"POST","path":"/webhooks","body":True},
    "deleteWebhook": {"noun":"webhooks","name":"delete","method":"DELETE","path":"/webhooks/{id}","params":["id"]},
    "getWebhook": {"noun":"webhooks","name":"get","method":"GET","path":"/webhooks/{id}","params":["id"]},
    "updateWebhook": {"noun":"webhooks","name":"update","method":"PATCH","path":"/webhooks/{id}","params":["id"],"body":True},
    "redeliverWebhook": {"noun":"webhooks","name":"redeliver","method":"POST","path":"/webhooks/{id}/redeliver","params":["id"],"body":True},
    "rotateSecret": {"noun":"webhooks","name":"rotateSecret","method":"POST","path":"/webhooks/{id}/rotate-secret","params":["id"],"body":True},
    "testWebhook": {"noun":"webhooks","name":"test","method":"POST","path":"/webhooks/{id}/test","params":["id"]},
    "verifySignature": {"noun":"webhooks","name":"verifySignature","method":"POST","path":"/webhooks/{id}/verify","params":["id"],"body":True},
    "whoAmI": {"name":"whoAmI","method":"GET","path":"/whoami"},
}


class RootCalls(Noun):
    actions: ActionsCalls
    agents: AgentsCalls
    deliveries: DeliveriesCalls
    hooks: HooksCalls
    keys: KeysCalls
    problems: ProblemsCalls
    schedules: SchedulesCalls
    sessions: SessionsCalls
    tasks: TasksCalls
    tenants: TenantsCalls
    webhooks: WebhooksCalls

    def get_index(self, **more: Any) -> types.Index:
        """GET /: List what there is; a browser is led to the console"""
        return self._call(OPERATIONS["getIndex"], [], more)

    def webhook_keys(self, **more: Any) -> types.KeySet:
        """GET /.well-known/webhooks/jwks.json: Read the public keys that sign deliveries (v1a)"""
        return self._call(OPERATIONS["webhookKeys"], [], more)

    def list_audit(self, **more: Any) -> Pages:
        """GET /audit: List who did what, newest first"""
        return self._call(OPERATIONS["listAudit"], [], more)

    def list_budgets(self, **more: Any) -> types.BudgetList:
        """GET /budgets: List the tenant's budgets for models, and what is used of them"""
        return self._call(OPERATIONS["listBudgets"], [], more)

    def all_events(self, **more: Any) -> Stream:
        """GET /events: Follow the events of all tasks"""
        return self._call(OPERATIONS["allEvents"], [], more)

    def healthz(self, **more: Any) -> Any:
        """GET /healthz: Whether the process runs"""
        return self._call(OPERATIONS["healthz"], [], more)

    def readyz(self, **more: Any) -> types.Readiness:
        """GET /readyz: Whether requests can be taken, check by check"""
        return self._call(OPERATIONS["readyz"], [], more)

    def get_stats(self, **more: Any) -> types.Stats:
        """GET /stats: Count what waits and runs in the whole mesh"""
        return self._call(OPERATIONS["getStats"], [], more)

    def get_stats_history(self, **more: Any) -> types.StatsHistory:
        """GET /stats/history: Count what became of tasks in the last minutes, and who called whom"""
        return self._call(OPERATIONS["getStatsHistory"], [], more)

    def get_version(self, **more: Any) -> types.Version:
        """GET /version: Read which build answers"""
        return self._call(OPERATIONS["getVersion"], [], more)

    def who_am_i(self, **more: Any) -> types.WhoAmI:
        """GET /whoami: Read who asks: the tenant and the scopes of these credentials"""
        return self._call(OPERATIONS["whoAmI"], [], more)


class ActionsCalls(Noun):
    def create(self, body: types.CreateAction | None = None, **more: Any) -> types.Task | types.AcceptedAction:
        """POST /actions: Accept an action: a task whose outcome is POSTed to callback_url"""
        return self._call(OPERATIONS["createAction"], [body], more)

    def get(self, id: str, **more: Any) -> types.Task:
        """GET /actions/{id}: Read an action"""
        return self._call(OPERATIONS["getAction"], [id], more)

    def cancel(self, id: str, **more: Any) -> types.Task:
        """POST /actions/{id}/cancel: Cancel an action"""
        return self._call(OPERATIONS["cancelAction"], [id], more)

    def deliveries(self, id: str, **more: Any) -> types.DeliveryList:
        """GET /actions/{id}/deliveries: List what was sent of an action, and every attempt"""
        return self._call(OPERATIONS["actionDeliveries"], [id], more)

    def events(self, id: str, **more: Any) -> Stream:
        """GET /actions/{id}/events: Follow an action"""
        return self._call(OPERATIONS["actionEvents"], [id], more)

    def get_input(self, id: str, **more: Any) -> Any:
        """GET /actions/{id}/input: Read the input as it was sent"""
        return self._call(OPERATIONS["getActionInput"], [id], more)

    def answer(self, id: str, body: types.AnswerTask | None = None, **more: Any) -> types.Task:
        """POST /actions/{id}/input: Answer a question of an action, or tell it an event that it waits for"""
        return self._call(OPERATIONS["answerAction"], [id, body], more)

    def redeliver(self, id: str, **more: Any) -> types.Redelivered:
        """POST /actions/{id}/redeliver: Send an action's callbacks again"""
        return self._call(OPERATIONS["redeliverAction"], [id], more)

    def get_result(self, id: str, **more: Any) -> Any:
        """GET /actions/{id}/result: Read the result itself"""
        return self._call(OPERATIONS["getActionResult"], [id], more)

    def retry(self, id: str, body: types.RetryTask | None = None, **more: Any) -> types.Task | types.AcceptedAction:
        """POST /actions/{id}/retry: Run a failed or canceled action again, as a new one"""
        return self._call(OPERATIONS["retryAction"], [id, body], more)

    def steps(self, id: str, **more: Any) -> Pages:
        """GET /actions/{id}/steps: Read what the agent of an action has finished and waited for"""
        return self._call(OPERATIONS["actionSteps"], [id], more)


class AgentsCalls(Noun):
    def list(self, **more: Any) -> types.AgentList:
        """GET /agents: List agents and their live workers"""
        return self._call(OPERATIONS["listAgents"], [], more)

    def delete(self, name: str, **more: Any) -> types.RemovedAgent:
        """DELETE /agents/{name}: Remove an agent that no live worker serves; tasks that wait for it stay"""
        return self._call(OPERATIONS["deleteAgent"], [name], more)

    def get(self, name: str, **more: Any) -> types.Agent:
        """GET /agents/{name}: Read an agent"""
        return self._call(OPERATIONS["getAgent"], [name], more)

    def pause(self, name: str, body: types.PauseAgent | None = None, **more: Any) -> types.Agent:
        """POST /agents/{name}/pause: Have no worker begin a task of an agent; what runs goes on, what is accepted waits"""
        return self._call(OPERATIONS["pauseAgent"], [name, body], more)

    def resume(self, name: str, **more: Any) -> types.Agent:
        """POST /agents/{name}/resume: Have workers take the tasks of an agent again"""
        return self._call(OPERATIONS["resumeAgent"], [name], more)


class DeliveriesCalls(Noun):
    def list(self, **more: Any) -> Pages:
        """GET /deliveries: List deliveries, newest change first; ?status=dead are those that were given up"""
        return self._call(OPERATIONS["listDeliveries"], [], more)

    def bulk(self, body: types.BulkDeliveries | None = None, **more: Any) -> types.BulkDone:
        """POST /deliveries/bulk: Deliver again all that a filter finds, or count it"""
        return self._call(OPERATIONS["bulkDeliveries"], [body], more)

    def get(self, id: str, **more: Any) -> types.Delivery:
        """GET /deliveries/{id}: Read a delivery, its payload and every attempt"""
        return self._call(OPERATIONS["getDelivery"], [id], more)

    def redeliver(self, id: str, **more: Any) -> types.Delivery:
        """POST /deliveries/{id}/redeliver: Deliver again, from now and with the whole schedule"""
        return self._call(OPERATIONS["redeliver"], [id], more)


class HooksCalls(Noun):
    def list(self, **more: Any) -> types.HookList:
        """GET /hooks: List hooks, oldest first"""
        return self._call(OPERATIONS["listHooks"], [], more)

    def create(self, body: types.HookRequest | None = None, **more: Any) -> types.Hook:
        """POST /hooks: Have somebody else's webhooks start tasks, speak in sessions or answer waiting tasks"""
        return self._call(OPERATIONS["createHook"], [body], more)

    def delete(self, id: str, **more: Any) -> Any:
        """DELETE /hooks/{id}: Delete a hook; what it has started goes on"""
        return self._call(OPERATIONS["deleteHook"], [id], more)

    def get(self, id: str, **more: Any) -> types.Hook:
        """GET /hooks/{id}: Read a hook, without its secrets"""
        return self._call(OPERATIONS["getHook"], [id], more)

    def update(self, id: str, body: types.HookRequest | None = None, **more: Any) -> types.Hook:
        """PATCH /hooks/{id}: Change a hook"""
        return self._call(OPERATIONS["updateHook"], [id, body], more)

    def receive(self, id: str, **more: Any) -> types.HookAccepted:
        """POST /hooks/{id}: Take a delivery of somebody else's webhook: signed as the hook says, without an API key"""
        return self._call(OPERATIONS["receiveHook"], [id], more)

    def pause(self, id: str, body: types.PauseHook | None = None, **more: Any) -> types.Hook:
        """POST /hooks/{id}/pause: Have a hook take nothing until it is resumed; senders are told to repeat"""
        return self._call(OPERATIONS["pauseHook"], [id, body], more)

    def recent(self, id: str, **more: Any) -> types.HookRecent:
        """GET /hooks/{id}/recent: Read the newest requests to a hook, and what became of them"""
        return self._call(OPERATIONS["recentHook"], [id], more)

    def resume(self, id: str, **more: Any) -> types.Hook:
        """POST /hooks/{id}/resume: Have a hook go on"""
        return self._call(OPERATIONS["resumeHook"], [id], more)

    def rotate_secret(self, id: str, body: types.RotateHook | None = None, **more: Any) -> types.Hook:
        """POST /hooks/{id}/rotate-secret: Give a hook a new secret; the one before is believed beside it for a while"""
        return self._call(OPERATIONS["rotateHookSecret"], [id, body], more)


class KeysCalls(Noun):
    def list(self, **more: Any) -> types.KeyList:
        """GET /keys: List API keys, oldest first; those that have ended are among them for 30 days"""
        return self._call(OPERATIONS["listKeys"], [], more)

    def create(self, body: types.CreateKey | None = None, **more: Any) -> types.APIKey:
        """POST /keys: Make an API key; it is shown this once"""
        return self._call(OPERATIONS["createKey"], [body], more)

    def revoke(self, id: str, **more: Any) -> Any:
        """DELETE /keys/{id}: End an API key at once, at every gateway within 5 s"""
        return self._call(OPERATIONS["revokeKey"], [id], more)

    def get(self, id: str, **more: Any) -> types.APIKey:
        """GET /keys/{id}: Read an API key, without its secret"""
        return self._call(OPERATIONS["getKey"], [id], more)

    def rotate(self, id: str, body: types.RotateKey | None = None, **more: Any) -> types.APIKey:
        """POST /keys/{id}/rotate: Make a key that takes the place of another one, which goes on for a while; it is shown this once"""
        return self._call(OPERATIONS["rotateKey"], [id, body], more)


class ProblemsCalls(Noun):
    def list(self, **more: Any) -> types.ProblemList:
        """GET /problems: List the problem codes"""
        return self._call(OPERATIONS["listProblems"], [], more)

    def get(self, code: str, **more: Any) -> types.ProblemPage:
        """GET /problems/{code}: Read what a problem code means"""
        return self._call(OPERATIONS["getProblem"], [code], more)


class SchedulesCalls(Noun):
    def list(self, **more: Any) -> types.ScheduleList:
        """GET /schedules: List schedules, oldest first"""
        return self._call(OPERATIONS["listSchedules"], [], more)

    def create(self, body: types.ScheduleRequest | None = None, **more: Any) -> types.Schedule:
        """POST /schedules: Start a task, or say something in a session, again and again"""
        return self._call(OPERATIONS["createSchedule"], [body], more)

    def preview(self, body: types.PreviewSchedule | None = None, **more: Any) -> types.SchedulePreview:
        """POST /schedules/preview: Read when a schedule would be due, without keeping it"""
        return self._call(OPERATIONS["previewSchedule"], [body], more)

    def delete(self, id: str, **more: Any) -> Any:
        """DELETE /schedules/{id}: Delete a schedule; what it has started goes on"""
        return self._call(OPERATIONS["deleteSchedule"], [id], more)

    def get(self, id: str, **more: Any) -> types.Schedule:
        """GET /schedules/{id}: Read a schedule, by its id or name"""
        return self._call(OPERATIONS["getSchedule"], [id], more)

    def update(self, id: str, body: types.ScheduleRequest | None = None, **more: Any) -> types.Schedule:
        """PATCH /schedules/{id}: Change a schedule"""
        return self._call(OPERATIONS["updateSchedule"], [id, body], more)

    def put(self, id: str, body: types.ScheduleRequest | None = None, **more: Any) -> types.Schedule:
        """PUT /schedules/{id}: Make the schedule of a name what the body says"""
        return self._call(OPERATIONS["putSchedule"], [id, body], more)

    def backfill(self, id: str, body: types.BackfillSchedule | None = None, **more: Any) -> types.ScheduleTimes:
        """POST /schedules/{id}/backfill: Run the times of a span that has passed"""
        return self._call(OPERATIONS["backfillSchedule"], [id, body], more)

    def pause(self, id: str, body: types.PauseSchedule | None = None, **more: Any) -> types.Schedule:
        """POST /schedules/{id}/pause: Have a schedule start nothing until it is resumed"""
        return self._call(OPERATIONS["pauseSchedule"], [id, body], more)

    def resume(self, id: str, **more: Any) -> types.Schedule:
        """POST /schedules/{id}/resume: Have a schedule go on from now"""
        return self._call(OPERATIONS["resumeSchedule"], [id], more)

    def runs(self, id: str, **more: Any) -> types.ScheduleRuns:
        """GET /schedules/{id}/runs: Read what became of the newest due times"""
        return self._call(OPERATIONS["scheduleRuns"], [id], more)

    def trigger(self, id: str, **more: Any) -> types.ScheduleRun:
        """POST /schedules/{id}/trigger: Start a run now, by the overlap policy"""
        return self._call(OPERATIONS["triggerSchedule"], [id], more)


class SessionsCalls(Noun):
    def list(self, **more: Any) -> Pages:
        """GET /sessions: List sessions, newest change first"""
        return self._call(OPERATIONS["listSessions"], [], more)

    def create(self, body: types.CreateSession | None = None, **more: Any) -> types.SessionCreated:
        """POST /sessions: Begin a conversation with an agent"""
        return self._call(OPERATIONS["createSession"], [body], more)

    def delete(self, id: str, **more: Any) -> Any:
        """DELETE /sessions/{id}: Delete a session; its open turn and those that wait are canceled"""
        return self._call(OPERATIONS["deleteSession"], [id], more)

    def get(self, id: str, **more: Any) -> types.Session:
        """GET /sessions/{id}: Read a session"""
        return self._call(OPERATIONS["getSession"], [id], more)

    def events(self, id: str, **more: Any) -> Stream:
        """GET /sessions/{id}/events: Follow a session: status, progress, milestone and output of its turns, and each reply"""
        return self._call(OPERATIONS["sessionEvents"], [id], more)

    def fork(self, id: str, body: types.ForkSession | None = None, **more: Any) -> types.SessionForked:
        """POST /sessions/{id}/fork: Begin a session with what was said in another one, up to a message"""
        return self._call(OPERATIONS["forkSession"], [id, body], more)

    def get_messages(self, id: str, **more: Any) -> Pages:
        """GET /sessions/{id}/messages: Read the transcript"""
        return self._call(OPERATIONS["getMessages"], [id], more)

    def post_message(self, id: str, body: types.PostMessage | None = None, **more: Any) -> types.TurnReply | types.AcceptedTurn:
        """POST /sessions/{id}/messages: Say something, and get the reply"""
        return self._call(OPERATIONS["postMessage"], [id, body], more)

    def get_turn(self, id: str, turn_id: str, **more: Any) -> types.Turn:
        """GET /sessions/{id}/turns/{turn_id}: Read a turn"""
        return self._call(OPERATIONS["getTurn"], [id, turn_id], more)

    def cancel_turn(self, id: str, turn_id: str, **more: Any) -> types.Turn:
        """POST /sessions/{id}/turns/{turn_id}/cancel: Cancel a turn; its message stays in the transcript, marked as interrupted"""
        return self._call(OPERATIONS["cancelTurn"], [id, turn_id], more)


class TasksCalls(Noun):
    def list(self, **more: Any) -> Pages:
        """GET /tasks: List tasks"""
        return self._call(OPERATIONS["listTasks"], [], more)

    def create(self, body: types.CreateTask | None = None, **more: Any) -> types.Task | types.Accepted:
        """POST /tasks: Accept a task"""
        return self._call(OPERATIONS["createTask"], [body], more)

    def bulk(self, body: types.BulkTasks | None = None, **more: Any) -> types.BulkDone:
        """POST /tasks/bulk: Cancel or retry all tasks that a filter finds, or count them"""
        return self._call(OPERATIONS["bulkTasks"], [body], more)

    def delete(self, id: str, **more: Any) -> Any:
        """DELETE /tasks/{id}: Delete a task that has ended, its result and its steps"""
        return self._call(OPERATIONS["deleteTask"], [id], more)

    def get(self, id: str, **more: Any) -> types.Task:
        """GET /tasks/{id}: Read a task"""
        return self._call(OPERATIONS["getTask"], [id], more)

    def cancel(self, id: str, **more: Any) -> types.Task:
        """POST /tasks/{id}/cancel: Cancel a task"""
        return self._call(OPERATIONS["cancelTask"], [id], more)

    def deliveries(self, id: str, **more: Any) -> types.DeliveryList:
        """GET /tasks/{id}/deliveries: List what was sent of a task, and every attempt"""
        return self._call(OPERATIONS["taskDeliveries"], [id], more)

    def events(self, id: str, **more: Any) -> Stream:
        """GET /tasks/{id}/events: Follow a task"""
        return self._call(OPERATIONS["taskEvents"], [id], more)

    def get_input(self, id: str, **more: Any) -> Any:
        """GET /tasks/{id}/input: Read the input as it was sent"""
        return self._call(OPERATIONS["getTaskInput"], [id], more)

    def answer(self, id: str, body: types.AnswerTask | None = None, **more: Any) -> types.Task:
        """POST /tasks/{id}/input: Answer a question of a task, or tell it an event that it waits for"""
        return self._call(OPERATIONS["answerTask"], [id, body], more)

    def get_result(self, id: str, **more: Any) -> Any:
        """GET /tasks/{id}/result: Read the result itself"""
        return self._call(OPERATIONS["getTaskResult"], [id], more)

    def retry(self, id: str, body: types.RetryTask | None = None, **more: Any) -> types.Task | types.Accepted:
        """POST /tasks/{id}/retry: Run a failed or canceled task again, as a new one"""
        return self._call(OPERATIONS["retryTask"], [id, body], more)

    def steps(self, id: str, **more: Any) -> Pages:
        """GET /tasks/{id}/steps: Read what the agent of a task has finished and waited for"""
        return self._call(OPERATIONS["taskSteps"], [id], more)

    def tell_step(self, id: str, body: types.Line | None = None, **more: Any) -> types.LineKept:
        """POST /tasks/{id}/steps: Keep a step of an agent that runs, by the lease of its attempt"""
        return self._call(OPERATIONS["tellStep"], [id, body], more)

    def step_value(self, id: str, **more: Any) -> Any:
        """GET /tasks/{id}/steps/value: Read the value of a step itself"""
        return self._call(OPERATIONS["stepValue"], [id], more)


class TenantsCalls(Noun):
    def list(self, **more: Any) -> types.TenantList:
        """GET /tenants: List the tenants that have limits of their own"""
        return self._call(OPERATIONS["listTenants"], [], more)

    def delete(self, name: str, **more: Any) -> Any:
        """DELETE /tenants/{name}: Take a tenant's own limits away; what it has stays"""
        return self._call(OPERATIONS["deleteTenant"], [name], more)

    def get(self, name: str, **more: Any) -> types.Tenant:
        """GET /tenants/{name}: Read a tenant's limits"""
        return self._call(OPERATIONS["getTenant"], [name], more)

    def set(self, name: str, body: types.TenantRequest | None = None, **more: Any) -> types.Tenant:
        """PUT /tenants/{name}: Give a tenant limits of its own, in place of those that it has"""
        return self._call(OPERATIONS["setTenant"], [name, body], more)


class WebhooksCalls(Noun):
    def list(self, **more: Any) -> types.WebhookList:
        """GET /webhooks: List webhooks"""
        return self._call(OPERATIONS["listWebhooks"], [], more)

    def create(self, body: types.WebhookRequest | None = None, **more: Any) -> types.Webhook:
        """POST /webhooks: Subscribe to events; the secret is shown this once"""
        return self._call(OPERATIONS["createWebhook"], [body], more)

    def delete(self, id: str, **more: Any) -> Any:
        """DELETE /webhooks/{id}: Delete a webhook; what is on its way to it is canceled"""
        return self._call(OPERATIONS["deleteWebhook"], [id], more)

    def get(self, id: str, **more: Any) -> types.Webhook:
        """GET /webhooks/{id}: Read a webhook"""
        return self._call(OPERATIONS["getWebhook"], [id], more)

    def update(self, id: str, body: types.WebhookRequest | None = None, **more: Any) -> types.Webhook:
        """PATCH /webhooks/{id}: Change a webhook, enable or disable it"""
        return self._call(OPERATIONS["updateWebhook"], [id, body], more)

    def redeliver(self, id: str, body: types.RedeliverRequest | None = None, **more: Any) -> types.Redelivered:
        """POST /webhooks/{id}/redeliver: Send a webhook again what it missed"""
        return self._call(OPERATIONS["redeliverWebhook"], [id, body], more)

    def rotate_secret(self, id: str, body: types.RotateRequest | None = None, **more: Any) -> types.Webhook:
        """POST /webhooks/{id}/rotate-secret: Give a webhook a new key; the old ones sign beside it for a while"""
        return self._call(OPERATIONS["rotateSecret"], [id, body], more)

    def test(self, id: str, **more: Any) -> types.Delivery:
        """POST /webhooks/{id}/test: Send a test event, once, and answer with what became of it"""
        return self._call(OPERATIONS["testWebhook"], [id], more)

    def verify_signature(self, id: str, body: types.VerifyRequest | None = None, **more: Any) -> types.Verdict:
        """POST /webhooks/{id}/verify: Check whether one of a webhook's keys has signed a request"""
        return self._call(OPERATIONS["verifySignature"], [id, body], more)
