package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// A task whose record is full is canceled as any other, and runs again with what it was given.
func TestATaskWhoseRecordIsFullIsCanceled(t *testing.T) {
	for name, c := range map[string]struct {
		instruction string
		status      task.State
	}{
		"while it runs":              {"run", task.Processing},
		"while its input fills it":   {"input", task.Processing},
		"while its errors fill it":   {"errors", task.Processing},
		"before a worker has it":     {"unclaimed", task.Pending},
		"while its metadata fill it": {"metadata", task.Processing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
				again, ran := false, ""
				a := meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
					if again {
						ran = string(job.Input)
						return "done", nil
					}
					<-ctx.Done()
					return nil, context.Cause(ctx)
				})
				stop := m.Work(a)
				if c.instruction == "unclaimed" {
					stop()
				}
				input := `{"a":1}`
				if c.instruction == "input" {
					input = `"` + strings.Repeat("i", 118<<10) + `"`
				}
				id := m.Create(`{"agent":"a","instruction":"` + c.instruction + `","input":` + input + `}`)
				time.Sleep(time.Second)
				rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(id))
				if err != nil || rec.Status != c.status {
					t.Fatalf("it is %s, %v", rec.Status, err)
				}
				switch c.instruction {
				case "errors":
					for range 28 {
						rec.Transitions = append(rec.Transitions, task.Transition{Status: task.Pending, Error: &task.Error{Message: strings.Repeat("e", 4<<10)}})
					}
				case "metadata":
					rec.Metadata = json.RawMessage(`"` + strings.Repeat("x", 127<<10) + `"`)
				}
				m.Fill(rec)
				w := m.Do("POST", "/tasks/"+id+"/cancel", "")
				if v := meshtest.Decode[client.Task](t, w.Body); w.Code != http.StatusOK || v.Status != "canceled" || len(v.Warnings) != 1 {
					t.Fatalf("cancel = %d %+v", w.Code, v)
				}
				if c.instruction == "unclaimed" {
					m.Work(a)
				}
				time.Sleep(time.Minute)
				if got := m.Record(id); got.Status != task.Canceled || m.Queued() != 0 || c.status == task.Processing && got.StoppedAt.IsZero() {
					t.Errorf("a minute later it is %s, stopped at %v, with %d messages", got.Status, got.StoppedAt, m.Queued())
				}
				if c.instruction == "metadata" { // more than would be accepted
					return
				}
				again = true
				retried := meshtest.Decode[client.Task](t, m.Do("POST", "/tasks/"+id+"/retry", "").Body)
				if got := m.End(retried.TaskID); got.Status != "completed" || ran != input {
					t.Errorf("again it is %s with %.80s: %+v", got.Status, ran, got.Error)
				}
			})
		})
	}
}

// A turn of a session is canceled so, too.
func TestATurnWhoseRecordIsFullIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
			if job.Turn.Text() == "next" {
				return "hello", nil
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}))
		id := m.Session("a")
		turn := m.Say(http.StatusAccepted, id, "hi", "Prefer", "respond-async").TurnID
		time.Sleep(time.Second)
		m.Fill(m.Record(turn))
		if w := m.Do("POST", "/sessions/"+id+"/turns/"+turn+"/cancel", ""); w.Code != http.StatusOK {
			t.Errorf("cancel = %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if got := m.Say(http.StatusOK, id, "next"); got.Message != "hello" {
			t.Errorf("%s %+v", got.Status, got.Error)
		}
	})
}
