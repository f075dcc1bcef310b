// Package agenttest runs the handler of an agent over the journal of a task that has run
// before, without a mesh: before new code is deployed it tells what tasks that wait
// would do again.
//
// It promises that no function of a step runs. It knows neither how a journal is kept nor
// by which version it was written.
//
//	raw, _ := os.ReadFile("testdata/task.json") // mesh task steps ID --values -o json
//	_ = json.Unmarshal(raw, &past.Steps)
//	report := agenttest.Replay(ctx, myAgent.Handler, past)
//	if len(report.Runs)+len(report.Unused) > 0 { t.Error(report) }
package agenttest

import (
	"context"
	"encoding/json"
	"fmt"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Past is a task that has run before, and what it had finished.
type Past struct {
	TaskID      string
	Kind        string
	Agent       string
	Instruction string
	Input       json.RawMessage
	Labels      map[string]string
	Metadata    json.RawMessage
	Steps       []Step // in their order
	Calls       []Call // the tasks that it has started
}

// Step is an entry of the journal, as GET /tasks/{id}/steps?include=values has it.
type Step struct {
	Kind  string           `json:"kind"`
	Name  string           `json:"name"`
	N     int              `json:"n"`
	Key   string           `json:"key"`
	Value json.RawMessage  `json:"value"`
	Head  string           `json:"head"` // of a value that is not kept whole
	Error *agent.LineError `json:"error"`
}

// Call is a task that the agent has started, and what it came to.
type Call struct {
	Agent  string
	Input  json.RawMessage
	Result json.RawMessage
	Failed string // why it failed; empty: it did not
}

// Report is what the new code makes of it. Each line names an entry: "step charge #0".
type Report struct {
	Kept   []string // taken over
	Runs   []string // what would be done, again or for the first time, and why
	Waits  []string // what would be waited for
	Calls  []string // tasks that would be started
	Unused []string // what the code does not ask for. Of a program it is not known.
	Ended  string   // how the run ended
}

// Replay runs a handler as if the task were begun again. What the journal does not have is
// not done: the handler gets null for it, the zero value, and goes on, until it waits for
// something that has not come. From the first line of Runs on it may therefore go another
// way than it would.
func Replay(ctx context.Context, h agent.Handler, past Past) (r Report) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := newReplay(past, stop)
	t := &task.Task{
		ID: task.ID(past.TaskID), Kind: task.Kind(past.Kind), Agent: past.Agent, Instruction: past.Instruction,
		Labels: past.Labels, Metadata: past.Metadata, Attempt: 1,
	}
	job := agent.NewJob(t, past.Input, "", p).WithCaller(p).WithJournal(p).WithLines(p)
	return p.report(p.run(ctx, h, job))
}

// run runs the handler and says how it ended.
func (p *replay) run(ctx context.Context, h agent.Handler, job *agent.Job) (ended string) {
	defer func() {
		if fault := recover(); fault != nil {
			ended = fmt.Sprintf("panic: %v", fault)
		}
	}()
	value, err := h(ctx, job)
	switch {
	case ctx.Err() != nil && agent.Suspended(context.Cause(ctx)):
		return "it waits"
	case err != nil:
		return "error: " + err.Error()
	}
	raw, err := task.Marshal(value)
	if err != nil {
		return "error: " + err.Error()
	}
	return "result: " + task.Clip(string(raw), 256)
}
