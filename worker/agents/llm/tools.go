package llm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/schema"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// tool is something that the model may call.
type tool interface {
	// offer is how the model sees it.
	offer() chat.Tool
	// run runs one call. What goes wrong is a result that the model reads; an error ends
	// the run of the task.
	run(ctx context.Context, l *loop, c call) (result, error)
}

// call is one that the model has made. Its arguments fit the schema of the tool.
type call struct {
	id    string // of the model
	place string // of the call in the task, the same in every run: round.index
	name  string
	args  json.RawMessage
	share int64 // into how many parts what is left is divided
}

// result is what a call came to.
type result struct {
	Text  string `json:"text"`
	Fault bool   `json:"fault,omitempty"`

	// Of a hand-over: to an agent of the file, or the value that ends the task.
	to    *compiled
	value json.RawMessage
}

func failed(format string, args ...any) result {
	return result{Text: "error: " + fmt.Sprintf(format, args...), Fault: true}
}

// equip has the tools of the agent that has the conversation.
func (l *loop) equip(ctx context.Context) error {
	l.tools, l.offers = map[string]tool{}, nil
	known, err := l.know(ctx)
	if err != nil {
		return err
	}
	add := func(t tool) {
		o := t.offer()
		if l.tools[o.Name] == nil {
			l.tools[o.Name] = t
			l.offers = append(l.offers, o)
		}
	}
	for _, u := range l.Tools {
		switch {
		case u.Human:
			add(human{})
		case u.Agent != "":
			add(newColleague(l, u, known.Agents[u.Agent]))
		default:
			for _, t := range known.Sets[u.Set] {
				add(&remote{set: l.catalog.tools[u.Set], tool: t})
			}
		}
	}
	return nil
}

// known is what an agent's tools look like when it begins. The journal keeps it: one
// that goes on must not ask the model anew because a server has reworded a description.
type known struct {
	Agents map[string]agent.Definition `json:"agents,omitempty"`
	Sets   map[string][]RemoteTool     `json:"sets,omitempty"`
}

func (l *loop) know(ctx context.Context) (known, error) {
	if !slices.ContainsFunc(l.Tools, func(u Use) bool { return u.Set != "" || u.Agent != "" && l.catalog.agents[u.Agent] == nil }) {
		return known{}, nil
	}
	return agent.Step(ctx, l.job, "tools/"+l.name, func(ctx context.Context, _ agent.StepInfo) (k known, err error) {
		k = known{Agents: map[string]agent.Definition{}, Sets: map[string][]RemoteTool{}}
		for _, u := range l.Tools {
			switch {
			case u.Agent != "" && l.catalog.agents[u.Agent] == nil:
				d, err := l.job.Describe(ctx, u.Agent)
				if err != nil {
					return k, fmt.Errorf("tool %s: %w", u.Agent, err)
				}
				k.Agents[u.Agent] = agent.Definition{Name: d.Name, Description: d.Description, InputSchema: d.InputSchema}
			case u.Set != "":
				if k.Sets[u.Set], err = l.catalog.tools[u.Set].list(ctx); err != nil {
					return k, err
				}
			}
		}
		return k, nil
	})
}

// callAll runs the calls of one answer, several at once, and gives the model what came
// of them in the order of the calls. done: the task has its result.
func (l *loop) callAll(ctx context.Context, calls []chat.Call) (v any, done bool, err error) {
	results := make([]result, len(calls))
	errs := make([]error, len(calls))
	slots := make(chan struct{}, l.ParallelTools)
	var running sync.WaitGroup
	for _, c := range calls {
		if v, done, err := l.finalCall(c); done || err != nil {
			return v, done, err
		}
	}
	for i, c := range calls {
		one, t, fault := l.prepare(i, c, len(calls))
		if fault != nil {
			results[i] = *fault
			continue
		}
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				errs[i] = context.Cause(ctx)
				return
			}
			results[i], errs[i] = t.run(ctx, l, one)
		})
	}
	running.Wait()
	if err := worst(errs); err != nil {
		return nil, false, err
	}
	return l.take(ctx, calls, results)
}

// worst is the error that counts: one that says more than that the task waits.
func worst(errs []error) (err error) {
	for _, e := range errs {
		if e != nil && (err == nil || agent.Suspended(err)) {
			err = e
		}
	}
	return err
}

// prepare finds the tool of a call and checks its arguments. fault is for the model.
func (l *loop) prepare(i int, c chat.Call, n int) (one call, t tool, fault *result) {
	wrong := func(format string, args ...any) (call, tool, *result) {
		r := failed(format, args...)
		return one, nil, &r
	}
	if int(l.used.ToolCalls)+i >= l.limits.ToolCalls {
		return wrong("the limit of %d tool calls is reached; answer with what you know", l.limits.ToolCalls)
	}
	t = l.tools[c.Name]
	if t == nil {
		var all []string
		for _, o := range l.offers {
			all = append(all, o.Name)
		}
		return wrong("there is no tool %q, there are %s", c.Name, strings.Join(all, ", "))
	}
	args, err := decoded(c.Arguments)
	if err != nil {
		return wrong("the arguments are no JSON: %v", err)
	}
	if s := compiledSchema(t.offer().Parameters); s != nil {
		if err := explained(s.Validate(args)); err != nil {
			return wrong("the arguments do not fit the schema: %v", err)
		}
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return wrong("the arguments are no JSON: %v", err)
	}
	return call{id: c.ID, place: fmt.Sprintf("%d.%d", l.rounds, i+1), name: c.Name, args: raw, share: int64(n)}, t, nil
}

// schemas are those of tools, compiled once.
var schemas sync.Map

// compiledSchema compiles the schema of a tool. One that does not compile checks
// nothing: the server of the tool does.
func compiledSchema(raw json.RawMessage) *jsonschema.Schema {
	if found, ok := schemas.Load(string(raw)); ok {
		return found.(*jsonschema.Schema)
	}
	s, err := schema.Compile(raw)
	if err != nil {
		s = nil
	}
	schemas.Store(string(raw), s)
	return s
}

// take gives the model the results, and hands the conversation over where it wants so.
func (l *loop) take(ctx context.Context, calls []chat.Call, results []result) (v any, done bool, err error) {
	var to *compiled
	for i, r := range results {
		l.used.ToolCalls++
		if l.faults++; !r.Fault {
			l.faults = 0
		}
		if r.value != nil && !done {
			if err := json.Unmarshal(r.value, &v); err != nil {
				return nil, false, err
			}
			done = true
		}
		to = cmp.Or(to, r.to)
		l.messages = append(l.messages, chat.Message{Role: chat.ToolRole, CallID: calls[i].ID, Content: r.Text})
	}
	l.job.Used(l.used, "")
	if done {
		return l.handed(v), true, nil
	}
	if to != nil {
		return nil, false, l.become(ctx, to)
	}
	return nil, false, nil
}

// handed is the result of an agent that the task was handed over to.
func (l *loop) handed(v any) any {
	if l.job.Turn == nil {
		return l.shownJSON(v)
	}
	text, _, err := agent.ReplyOf(v)
	if err != nil {
		text = fmt.Sprint(v)
	}
	return l.reply(text, nil)
}

// finalCall takes an answer that was given by a call.
func (l *loop) finalCall(c chat.Call) (v any, done bool, err error) {
	if c.Name != finalAnswer || l.schema == nil {
		return nil, false, nil
	}
	l.noFormat = true
	v, err = l.valid(c.Arguments)
	if err == nil {
		return l.reply(c.Arguments, v), true, nil
	}
	return nil, false, l.mend(err)
}

// errMend says that the model was told to mend its answer.
var errMend = errors.New("the answer is to be mended")

// mend drops an answer by a call that breaks the schema, and asks for another.
func (l *loop) mend(why error) error {
	if err := l.repair(why); err != nil {
		return err
	}
	last := len(l.messages) - 1
	text := ""
	for _, c := range l.messages[last].Calls {
		text += c.Name + " " + c.Arguments + "\n"
	}
	l.messages[last] = chat.Message{Role: chat.Assistant, Content: strings.TrimSpace(text)}
	l.messages = append(l.messages, chat.Message{Role: chat.User, Content: "That does not fit the schema of " + finalAnswer + ": " + why.Error() + "\nCall it again."})
	return errMend
}
