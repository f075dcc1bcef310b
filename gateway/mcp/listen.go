package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// Bounds of one who listens.
const (
	maxListened  = 64                  // tasks of one stream
	listenFor    = 30 * 24 * time.Hour // longer than a task lasts
	beatEvery    = 15 * time.Second
	slowListener = 10 * time.Second // one message must be gone within this
)

// listensToTasks says whether a request is one for changes of tasks, with headers as
// they must be: the SDK refuses it otherwise, and knows no tasks.
func (a *asked) listensToTasks(r *http.Request) bool {
	return a.method == "subscriptions/listen" && len(a.params.Notifications.TaskIDs) > 0 && a.proper(r)
}

// listener is a stream of changes of tasks, and of the list of tools.
type listener struct {
	*endpoint
	a       *asked
	w       http.ResponseWriter
	control *http.ResponseController

	mu sync.Mutex
}

// listen tells of tasks as they change, until all have ended and nothing else was
// asked for. Tasks that the caller does not have are left out of what is agreed.
func (e *endpoint) listen(w http.ResponseWriter, r *http.Request, a *asked) error {
	switch {
	case !a.knowsTasks():
		writeRefusal(w, a.id, lacking("Declare the tasks extension with each request.", tasksCapability))
		return nil
	case len(a.params.Notifications.TaskIDs) > maxListened:
		writeRefusal(w, a.id, invalid(fmt.Sprintf("A stream tells of at most %d tasks. Open another one.", maxListened)))
		return nil
	}
	release, err := e.Mesh.Tenants.Hold(a.Caller, mesh.HeldStream)
	if err != nil {
		return err
	}
	defer release()
	agreed := []task.ID{}
	seen := map[string]bool{}
	for _, id := range a.params.Notifications.TaskIDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		switch t, err := e.find(r.Context(), a, task.ID(id)); {
		case err == nil:
			agreed = append(agreed, t.ID)
		case mesh.RefusalOf(err).Refusal != mesh.ErrTaskNotFound:
			return err
		}
	}
	l := &listener{endpoint: e, a: a, w: w, control: http.NewResponseController(w)}
	l.run(r.Context(), agreed)
	return nil
}

func (l *listener) run(ctx context.Context, ids []task.ID) {
	open, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.Closing, cancel)()
	h := l.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	l.w.WriteHeader(http.StatusOK)
	agreed := map[string]any{"taskIds": ids}
	if l.a.params.Notifications.Tools {
		agreed["toolsListChanged"] = true
	}
	if !l.notify("notifications/subscriptions/acknowledged", map[string]any{"notifications": agreed}) {
		return
	}
	var parts, beats sync.WaitGroup
	for _, id := range ids {
		parts.Go(func() { l.tell(open, cancel, id) })
	}
	if l.a.params.Notifications.Tools {
		parts.Go(func() { l.tellTools(open, cancel) })
	}
	beats.Go(func() {
		for pause.For(open, beatEvery) {
			if !l.write(": heartbeat\n\n") {
				cancel()
			}
		}
	})
	parts.Wait()
	cancel()
	beats.Wait()
	if ctx.Err() == nil {
		l.send(map[string]any{"jsonrpc": "2.0", "id": l.a.id, "result": map[string]any{"resultType": "complete", "_meta": l.meta()}})
	}
}

// tell tells how a task is and what becomes of it, each state once.
func (l *listener) tell(ctx context.Context, cancel func(), id task.ID) {
	told := ""
	_, err := l.follow(ctx, l.a, id, listenFor, func(t *task.Task) bool {
		v, err := l.detailed(ctx, l.a, t)
		if err != nil {
			l.Log.DebugContext(ctx, "a change of a task is not told", "task_id", id, "error", err)
			return ctx.Err() == nil && !t.Status.Terminal()
		}
		v.ResultType = ""
		now := fmt.Sprint(v.Status, v.StatusMessage, t.Attempt, len(v.InputRequests), questionsOf(t))
		if now != told && !l.notify("notifications/tasks", v) {
			cancel()
			return false
		}
		told = now
		return !t.Status.Terminal()
	})
	if err != nil {
		l.Log.DebugContext(ctx, "a task is not followed", "task_id", id, "error", err)
	}
}

// questionsOf tells sets of open questions apart.
func questionsOf(t *task.Task) (keys []string) {
	for _, w := range t.Questions() {
		keys = append(keys, questionKey(w))
	}
	return keys
}

// tellTools tells that the tools are others.
func (l *listener) tellTools(ctx context.Context, cancel func()) {
	told := l.madeOf()
	for pause.For(ctx, refreshEvery) {
		_, _ = l.endpoint.endpoint(ctx, l.a.Caller, l.agent)
		if now := l.madeOf(); now != told {
			if told = now; !l.notify("notifications/tools/list_changed", map[string]any{}) {
				cancel()
			}
		}
	}
}

func (l *listener) meta() map[string]any { return map[string]any{sdk.MetaKeySubscriptionID: l.a.id} }

// notify sends a notification with the id of the stream, and reports whether somebody
// reads.
func (l *listener) notify(method string, params any) bool {
	switch p := params.(type) {
	case map[string]any:
		p["_meta"] = l.meta()
	case *taskResult:
		p.Meta = l.meta()
	}
	return l.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

func (l *listener) send(message any) bool {
	b, err := json.Marshal(message)
	if err != nil {
		l.Log.Error("a notification does not encode", "error", err)
		return false
	}
	return l.write("event: message\ndata: " + string(b) + "\n\n")
}

func (l *listener) write(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.control.SetWriteDeadline(time.Now().Add(slowListener)) // only a server's connection has deadlines
	if _, err := l.w.Write([]byte(text)); err != nil {
		return false
	}
	return l.control.Flush() == nil
}

// writeRefusal answers a request that goes no further with an error.
func writeRefusal(w http.ResponseWriter, id json.RawMessage, err error) {
	var refused *jsonrpc.Error
	if !errors.As(err, &refused) {
		panic(err) // they are ours
	}
	writeError(w, http.StatusBadRequest, id, refused)
}
