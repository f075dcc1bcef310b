// Package floor is the least code that does the same JetStream writes as the mesh
// behind bare net/http: one publish to accept, one compare-and-set of a record, one
// confirmed ack. It validates nothing, retries nothing and traces nothing. What the
// mesh costs is measured against it, by the benchmarks and by `mesh bench`; nothing
// else uses it.
package floor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Floor answers POST /tasks for the agent "echo", and works on what it accepts.
type Floor struct {
	http.Handler

	nc        *nats.Conn
	js        jetstream.JetStream
	consuming jetstream.ConsumeContext
	steps     int
}

type record struct {
	ID     task.ID         `json:"task_id"`
	Status string          `json:"status"`
	Agent  string          `json:"agent"`
	Input  json.RawMessage `json:"input,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	At     time.Time       `json:"at"`
}

// Options of a floor.
type Options struct {
	Slots    int // tasks at a time
	Steps    int // of each task: one publish each, behind the one before
	Replicas int // of each stream; 0: 1
}

// Start makes the streams of a mesh on the server of nc and works until Stop.
func Start(ctx context.Context, nc *nats.Conn, o Options) (*Floor, error) {
	slots := o.Slots
	js, err := jetstream.New(nc)
	if err == nil {
		_, _, err = topology.Ensure(ctx, js, topology.Settings{Replicas: max(o.Replicas, 1)})
	}
	if err != nil {
		return nil, fmt.Errorf("open the floor: %w", err)
	}
	f := &Floor{nc: nc, js: js, steps: o.Steps}
	c, err := js.CreateOrUpdateConsumer(ctx, topology.Tasks, topology.AgentConsumer("echo", 1000, 30*time.Second))
	if err != nil {
		return nil, fmt.Errorf("open the floor: %w", err)
	}
	free := make(chan struct{}, slots)
	f.consuming, err = c.Consume(func(msg jetstream.Msg) {
		free <- struct{}{}
		go func() {
			defer func() { <-free }()
			f.work(msg)
		}()
	}, jetstream.PullMaxMessages(slots))
	if err != nil {
		return nil, fmt.Errorf("open the floor: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tasks", f.post)
	f.Handler = mux
	return f, nil
}

// Stop takes no more.
func (f *Floor) Stop() { f.consuming.Stop() }

func (f *Floor) work(msg jetstream.Msg) {
	var t record
	if json.Unmarshal(msg.Data(), &t) != nil {
		return
	}
	last := uint64(0)
	for n := range f.steps {
		ack, err := f.js.Publish(context.Background(), topology.Step("default", t.ID, task.Slot(task.EntryStep, "step", n)), t.Input,
			jetstream.WithExpectLastSequenceForSubject(last, topology.StepsOf("default", t.ID)))
		if err != nil {
			return
		}
		last = ack.Sequence
	}
	t.Status, t.Result, t.At = "completed", t.Input, time.Now()
	data, err := json.Marshal(t)
	if err != nil {
		return
	}
	if _, err := f.js.Publish(context.Background(), topology.TaskRecord("default", t.ID), data, jetstream.WithExpectLastSequencePerSubject(0)); err != nil {
		return
	}
	_ = msg.DoubleAck(context.Background())
}

func (f *Floor) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	t := record{ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Status: "pending", At: time.Now()}
	if err == nil {
		err = json.Unmarshal(body, &t)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var ended chan *nats.Msg
	if r.Header.Get("Prefer") != "" {
		ended = make(chan *nats.Msg, 4)
		sub, err := f.nc.ChanSubscribe(topology.TaskEvents("default", t.ID), ended)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	data, err := json.Marshal(t)
	if err == nil {
		_, err = f.js.Publish(r.Context(), topology.TaskReady("default", t.Agent, t.ID), data, jetstream.WithMsgID(string(t.ID)))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if ended == nil {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(data)
		return
	}
	select {
	case msg := <-ended:
		_, _ = w.Write(msg.Data)
	case <-time.After(30 * time.Second):
		w.WriteHeader(http.StatusAccepted)
	}
}
