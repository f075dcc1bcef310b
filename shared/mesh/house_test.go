package mesh_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// lease of the consumers: longer than a busy machine takes to deliver six messages.
const lease = time.Minute

// house is a server with a store, without any role.
type house struct {
	t   *testing.T
	dir string
	srv *natstest.Server
	nc  *nats.Conn
	st  *store.Store
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, dir: t.TempDir()}
	h.start()
	for _, q := range store.Queues {
		if err := h.st.Consumers.Ensure(t.Context(), q, "echo", 100, lease); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) start() {
	h.t.Helper()
	h.srv = natstest.StartIn(h.t, h.dir)
	h.nc = h.srv.Connect(h.t)
	var err error
	if h.st, err = store.Open(h.t.Context(), h.nc, store.Options{Replicas: 1}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) restart() {
	h.t.Helper()
	h.nc.Close()
	h.srv.Stop()
	h.start()
}

func (h *house) js() jetstream.JetStream {
	js, err := jetstream.New(h.nc)
	if err != nil {
		h.t.Fatal(err)
	}
	return js
}

// look has a reconciler look once; it is a new one, as after a start.
func (h *house) look(who string) {
	h.t.Helper()
	if err := mesh.NewReconciler(h.st, who, slog.New(slog.DiscardHandler)).Look(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// finish ends a task as a worker would.
func (h *house) finish(id task.ID, result string) {
	h.t.Helper()
	t, err := h.st.Tasks.Find(h.t.Context(), auth.DefaultTenant, id)
	if err != nil {
		h.t.Fatal(err)
	}
	t.Result = task.Value{Inline: json.RawMessage(result)}
	if err := t.To(task.Completed, time.Now()); err != nil {
		h.t.Fatal(err)
	}
	h.save(t)
}

// reply answers the open turn of a session as a worker would.
func (h *house) reply(id session.ID, text string) {
	for {
		t, err := h.st.Turns.Open(h.t.Context(), auth.DefaultTenant, "echo", id)
		if err != nil {
			if h.t.Context().Err() != nil {
				return
			}
			continue
		}
		t.Result = task.Value{Inline: json.RawMessage(fmt.Sprintf(`{"message":%q}`, text))}
		if t.To(task.Completed, time.Now()) == nil {
			_ = h.st.Tasks.Save(h.t.Context(), t)
		}
		return
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
