package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/worker/agent"
)

// A task whose record has no room for its end ends as it would with room, with less in it,
// and says only of one that has run that it has.
func TestARecordWithoutRoomForItsEndEndsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fill    func(m *meshtest.Mesh, rec *task.Task)
		status  string
		code    string
		attempt int
		started bool
	}{
		"its worker died in the last attempt": {func(_ *meshtest.Mesh, rec *task.Task) {
			rec.Attempt, rec.Lease = 1, &task.Lease{Worker: "wrk_dead", Seq: rec.QueueSeq}
			_ = rec.To(task.Processing, time.Now())
		}, "failed", task.CodeWorkerLost, 1, true},
		"its deadline passed before it ran": {func(_ *meshtest.Mesh, rec *task.Task) {
			rec.Deadline = task.Stamp(time.Now())
		}, "failed", task.CodeDeadlineExceeded, 0, false},
		"its parent was canceled before it ran": {func(m *meshtest.Mesh, rec *task.Task) {
			parent := m.Create(`{"agent":"a","instruction":"x"}`)
			m.Do("POST", "/tasks/"+parent+"/cancel", "")
			rec.ParentID = task.ID(parent)
		}, "canceled", "", 0, false},
		"there is no room for its first claim": {func(_ *meshtest.Mesh, rec *task.Task) {
			rec.Metadata = json.RawMessage(`"` + strings.Repeat("x", 126<<10) + `"`)
		}, "failed", task.CodeResultTooLarge, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
				a := agent.Agent{Definition: agent.Definition{Name: "a", Retry: agent.Retry{MaxAttempts: 1}}, Handler: func(context.Context, *agent.Job) (any, error) {
					return nil, errors.New("it runs")
				}}
				m.Work(a)()
				id := m.Create(`{"agent":"a","instruction":"x","input":{"a":1}}`)
				rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(id))
				if err != nil {
					t.Fatal(err)
				}
				taken(t, m, "a") // by a worker that died before it claimed it: the next one reads the record
				c.fill(m, rec)
				m.Fill(rec)
				m.Work(a)
				got, code := m.End(id), ""
				if got.Error != nil {
					code = got.Error.Code
				}
				if got.Status != c.status || code != c.code || got.Attempt != c.attempt || got.StartedAt.IsZero() == c.started {
					t.Errorf("%s in attempt %d, begun at %v: %+v", got.Status, got.Attempt, got.StartedAt, got.Error)
				}
				if w := m.Do("GET", "/tasks/"+id+"/input", ""); w.Body.String() != `{"a":1}` {
					t.Errorf("its input is %s", w.Body)
				}
				time.Sleep(10 * time.Second)
				if n := m.Queued(); n != 0 {
					t.Errorf("%d messages are left", n)
				}
			})
		})
	}
}

// taken takes the first message of an agent, as a worker does that is seen no more.
func taken(t *testing.T, m *meshtest.Mesh, agent string) {
	t.Helper()
	js, err := jetstream.New(m.NC)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), topology.Tasks, topology.AgentDurable(agent))
	if err == nil {
		_, err = c.Next()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A reply that its session has is the outcome of its turn, also where the turn's record
// has no room for it.
func TestAReplyThatItsSessionHasIsTheOutcomeOfItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), MaxPayload: 128 << 10}))
		reply := strings.Repeat("r", 70<<10)
		m.Work(meshtest.Named("a", func(_ context.Context, job *agent.Job) (any, error) {
			job.Output(reply[:60<<10])
			return reply, nil
		}))
		id := m.Session("a")
		if got := m.Say(200, id, "hi"); got.Status != "completed" || got.Message != reply {
			t.Errorf("%s with %d bytes: %+v", got.Status, len(got.Message), got.Error)
		}
		if got := meshtest.Talk(m.Transcript(id)); got != "user: hi\nagent: "+reply {
			t.Errorf("the transcript is %.80s", got)
		}
	})
}
