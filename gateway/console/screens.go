package console

import "net/url"

// screens are the pages besides the first one.
func screens() []screen {
	return []screen{
		tasksScreen, taskScreen, bulkTasksScreen, sessionsScreen, sessionScreen, schedulesScreen, scheduleScreen, firehoseScreen,
		agentsScreen, agentScreen, workersScreen, playgroundScreen, tryScreen,
		webhooksScreen, webhookScreen, deliveriesScreen, deliveryScreen, bulkDeliveriesScreen, deadScreen, hooksScreen, hookScreen,
		budgetsScreen, inboxScreen, problemsScreen, codeScreen,
	}
}

// actions are what forms do; each returns the page that it leads to.
func actions() map[string]func(*visit) (string, error) {
	return map[string]func(*visit) (string, error){
		"/tasks/{id}/cancel": cancelTask, "/tasks/{id}/retry": retryTask, "/tasks/{id}/answer": answerTask, "/tasks/{id}/delete": deleteTask,
		"/tasks/bulk": bulkTasks, "/deliveries/bulk": bulkDeliveries, "/deliveries/{id}/redeliver": redeliver,
		"/sessions": openSession, "/sessions/{id}/say": saySession, "/sessions/{id}/stop": stopTurn, "/sessions/{id}/delete": deleteSession, "/sessions/{id}/fork": forkSession,
		"/agents/{id}/pause": pauseAgent, "/agents/{id}/resume": resumeAgent, "/agents/{id}/delete": deleteAgent, "/playground/{id}": try,
		"/webhooks": createWebhook, "/webhooks/{id}/change": updateWebhook, "/webhooks/{id}/rotate": rotateWebhook, "/webhooks/{id}/enabled": toggleWebhook,
		"/webhooks/{id}/test": testWebhook, "/webhooks/{id}/delete": deleteWebhook, "/webhooks/{id}/verify": checkSignature,
		"/schedules": createSchedule, "/schedules/{id}/pause": pauseSchedule, "/schedules/{id}/resume": resumeSchedule, "/schedules/{id}/trigger": triggerSchedule, "/schedules/{id}/delete": deleteSchedule,
		"/inbox/answer": answerInbox, "/inbox/clear": clearInbox,
		"/hooks": createHook, "/hooks/{id}/pause": pauseHook, "/hooks/{id}/resume": resumeHook, "/hooks/{id}/delete": deleteHook,
	}
}

// answers are what is no page.
func answers() map[string]func(*visit) error {
	return map[string]func(*visit) error{
		"/tasks/{id}/result": download(readResult, "result"), "/tasks/{id}/input": download(readInput, "input"), "/go": goTo,
	}
}

// kinds are the pages of ids, by their prefixes.
var kinds = map[string]string{"tsk": "tasks", "act": "tasks", "trn": "tasks", "ses": "sessions", "whk": "webhooks", "dlv": "deliveries", "sch": "schedules", "hok": "hooks"}

// goTo leads to what a text names: a thing by its id, a code, or an agent.
func goTo(v *visit) error {
	q := v.q("q")
	if len(q) > 4 && q[3] == '_' && kinds[q[:3]] != "" {
		redirect(v.w, v.root()+kinds[q[:3]]+"/"+url.PathEscape(q))
		return nil
	}
	all, err := optional(v.api.Agents.List(v.ctx()))
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Name == q {
			redirect(v.w, v.root()+"agents/"+url.PathEscape(q))
			return nil
		}
	}
	redirect(v.w, v.root()+"problems?"+url.Values{"q": {q}}.Encode())
	return nil
}
