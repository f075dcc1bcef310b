package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// Values of 5 MB go through the object store and come back byte for byte; a
// byte over the limit is refused clearly.
func TestLargeValuesComeBackWholeAndTooLargeOnesAreRefused(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.New(t)
	a := echo.Agent()
	run := a.Handler
	a.Handler = func(ctx context.Context, job *agent.Job) (any, error) {
		if job.Instruction == "too much" {
			return strings.Repeat("y", 32<<20), nil
		}
		return run(ctx, job)
	}
	m.Work(a)
	srv, c := m.Serve()
	text := bytes.Repeat([]byte(`0123456789"<&>\n`), 5_000_000/15)
	input, err := json.Marshal(string(text))
	if err != nil {
		t.Fatal(err)
	}
	input = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(input, []byte(`\u003c`), []byte(`<`)), []byte(`\u003e`), []byte(`>`)), []byte(`\u0026`), []byte(`&`))
	task, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Input: input}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Tasks.Wait(t.Context(), task.TaskID)
	if err != nil || done.Status != "completed" || done.ResultURL != "/tasks/"+task.TaskID+"/result" || done.Result != nil {
		t.Fatalf("%v: %+v", err, done)
	}
	body, err := c.Tasks.Result(t.Context(), task.TaskID)
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(body)
	_ = body.Close()
	var same string
	if err != nil || json.Unmarshal(back, &same) != nil || same != string(text) {
		t.Errorf("%d bytes came back of %d, %v", len(back), len(input), err)
	}
	if rec := m.Record(task.TaskID); len(rec.Input.Inline) > 0 || rec.Input.Object == "" || rec.Result.Object == "" {
		t.Error("the record carries a large value itself")
	}

	resp, err := http.Post(srv.URL+"/tasks", "application/json", strings.NewReader(`{"agent":"echo","input":"`+strings.Repeat("z", 32<<20+1)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := meshtest.Decode[client.Problem](t, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || p.Code != "body_too_large" {
		t.Errorf("33554433 bytes = %d %+v", resp.StatusCode, p)
	}
	over := m.End(m.Create(`{"agent":"echo","instruction":"too much"}`))
	if over.Status != "failed" || over.Error.Code != "result_too_large" || over.Attempt != 1 {
		t.Errorf("a result over the limit: %+v %+v", over, over.Error)
	}
}
