package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// BenchmarkHTTPLayer is the HTTP half of POST /tasks, body to 202 without the
// store: by our adapter on chi, as operation.go has it, and through huma on chi.
func BenchmarkHTTPLayer(b *testing.B) {
	answer := func(req *api.CreateTask) (api.Accepted, []mesh.Invalid) {
		now := time.Now()
		s := submission(req, task.KindTask, now)
		return api.Accepted{TaskID: "tsk_01a20cd9e03b7276be6a181888e33e52", Status: string(task.Pending), Agent: req.Agent, CreatedAt: now}, s.Check()
	}
	f := newFront(Default(), mesh.New(nil, mesh.Options{}), nil)
	plain := chi.NewRouter()
	op := operation("POST", "/tasks", auth.TasksWrite, "createTask", "", func(_ context.Context, in taskCreation) (out accepted[api.Accepted], err error) {
		a, faults := answer(&in.Body)
		if len(faults) > 0 {
			return out, mesh.RefuseFields(faults...)
		}
		return accepted[api.Accepted]{Body: &a, acceptance: acceptance{Location: taskURL(task.ID(a.TaskID)), RetryAfter: "1"}}, nil
	})
	plain.Post("/tasks", f.handle(func(w http.ResponseWriter, r *http.Request) error { return op.handler(&call{front: f, w: w, r: r}) }))

	type input struct{ Body api.CreateTask }
	type output struct{ Body api.Accepted }
	layered := chi.NewRouter()
	cfg := huma.DefaultConfig("bench", "1")
	cfg.CreateHooks, cfg.DocsPath = nil, ""
	huma.Register(humachi.New(layered, cfg), huma.Operation{Method: "POST", Path: "/tasks", DefaultStatus: http.StatusAccepted},
		func(_ context.Context, in *input) (*output, error) {
			a, faults := answer(&in.Body)
			if len(faults) > 0 {
				return nil, huma.Error422UnprocessableEntity("invalid")
			}
			return &output{a}, nil
		})

	for _, size := range []int{200, 40 << 10} {
		body := benchBody(b, size)
		for _, impl := range []struct {
			name    string
			handler http.Handler
		}{{"chi", plain}, {"huma", layered}} {
			b.Run(fmt.Sprintf("body=%dB/impl=%s", size, impl.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest("POST", "/tasks", bytes.NewReader(body))
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					impl.handler.ServeHTTP(w, r)
					if w.Code != http.StatusAccepted {
						b.Fatalf("%d %s", w.Code, w.Body)
					}
				}
			})
		}
	}
}

// benchBody is a request with a structured input of about size bytes.
func benchBody(b *testing.B, size int) []byte {
	type item struct {
		Name  string    `json:"name"`
		Score float64   `json:"score"`
		Tags  []string  `json:"tags"`
		Where []float64 `json:"where"`
	}
	var items []item
	for n := size; n > 0; n -= 100 {
		items = append(items, item{strings.Repeat("x", 20), 0.5, []string{"a", "bb", "ccc"}, []float64{1.5, 2.5}})
	}
	body, err := json.Marshal(map[string]any{"agent": "echo", "labels": map[string]string{"team": "search"}, "input": items})
	if err != nil {
		b.Fatal(err)
	}
	return body
}
