package llm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// The limits that end a task early, as its record names them.
const (
	stoppedBySteps  = "steps"
	stoppedByCalls  = "tool_calls"
	stoppedByTokens = "tokens"
	stoppedByCost   = "cost"
	stoppedByTime   = "time"
	stoppedByFaults = "tool_errors"
)

// maxFaults is how many tool calls may fail one after the other.
const maxFaults = 5

// lastWord is how many tokens of a limit are kept for the last answer.
const lastWord = 256

// leastAnswer is the shortest answer in tokens that is worth asking for.
const leastAnswer = 16

// meter counts what a task uses, and knows its limits.
type meter struct {
	job    *agent.Job
	limits Limits // of the agent that the task is for
	began  time.Time

	used     task.Usage // without children
	mu       sync.Mutex // of children
	children task.Usage
}

// within is what the task may use at most: its own limit, and what its parent has left.
func (l *meter) within() task.Within {
	own := task.Within{Tokens: l.limits.Tokens, Cost: l.limits.Cost}
	return own.Tighter(l.job.Within)
}

// left is what is left of within; what has no bound is -1.
func (l *meter) left() (tokens, cost int64) {
	tokens, cost = -1, -1
	w, used := l.within(), l.total()
	if w.Tokens > 0 {
		tokens = max(0, w.Tokens-used.Tokens())
	}
	if w.Cost > 0 {
		cost = max(0, w.Cost-used.Cost)
	}
	return tokens, cost
}

// over is the limit that is reached; empty: none.
func (l *loop) over() string {
	lim := l.limits
	w := l.within()
	tokens, cost := l.left()
	timeLeft, timed := l.timeLeft()
	switch {
	case l.rounds >= lim.Steps:
		return stoppedBySteps
	case int(l.used.ToolCalls) >= lim.ToolCalls:
		return stoppedByCalls
	case l.faults >= maxFaults:
		return stoppedByFaults
	case tokens >= 0 && l.rounds > 0 && tokens-l.request("").Estimate() < min(lastWord, w.Tokens/10):
		return stoppedByTokens
	case cost >= 0 && l.rounds > 0 && cost < w.Cost/10:
		return stoppedByCost
	case timed && timeLeft <= 0:
		return stoppedByTime
	}
	return ""
}

// room is how long the answer to r may be, in tokens; 0: no bound. What the request
// itself takes is estimated, rather too high.
func (l *meter) room(m *model, r chat.Request) (int64, error) {
	tokens, cost := l.left()
	most := int64(0)
	asked := r.Estimate()
	if tokens >= 0 {
		if most = tokens - asked; most < leastAnswer {
			return 0, noRoom(stoppedByTokens)
		}
	}
	if cost >= 0 && m.Price != nil && m.Price.Output > 0 {
		affordable := (cost*1_000_000 - asked*m.Price.Input) / m.Price.Output
		if affordable < leastAnswer {
			return 0, noRoom(stoppedByCost)
		}
		if most == 0 || affordable < most {
			most = affordable
		}
	}
	return most, nil
}

// stop ends the task at a limit: by one last answer without tools, or as failed.
func (l *loop) stop(ctx context.Context, why string) (any, error) {
	l.job.Used(l.used, why)
	if l.limits.OnLimit == LimitFail {
		return nil, l.limit(why)
	}
	l.messages = append(l.messages, chat.Message{Role: chat.User, Content: "Answer now, with what you know. You cannot call any more tools."})
	answer, err := l.ask(ctx, "none")
	if err != nil {
		if text := l.lastText(); text != "" && ctx.Err() == nil && !agent.Suspended(err) {
			return l.whatThereIs(text, why)
		}
		if none := noRoom(""); errors.As(err, &none) {
			return nil, l.limit(why)
		}
		return nil, err
	}
	text := answer.Content
	for _, c := range answer.Calls {
		if c.Name == finalAnswer {
			text = c.Arguments
		}
	}
	l.messages = append(l.messages, chat.Message{Role: chat.Assistant, Content: text})
	return l.whatThereIs(text, why)
}

// whatThereIs is an answer at a limit: nothing of it can be mended any more.
func (l *loop) whatThereIs(text, why string) (any, error) {
	if l.schema == nil {
		return l.reply(text, nil), nil
	}
	v, err := decoded(text)
	if err == nil {
		err = l.schema.Validate(v)
	}
	if err != nil {
		return nil, l.limit(why)
	}
	return l.reply(text, v), nil
}

func (l *meter) limit(why string) error {
	lim, w := l.limits, l.within()
	what := map[string]string{
		stoppedBySteps: fmt.Sprintf("%d answers of the model", lim.Steps), stoppedByCalls: fmt.Sprintf("%d tool calls", lim.ToolCalls),
		stoppedByTokens: fmt.Sprintf("%d tokens", w.Tokens), stoppedByCost: fmt.Sprintf("a cost of %d millionths", w.Cost),
		stoppedByTime: fmt.Sprint(lim.Time), stoppedByFaults: fmt.Sprintf("%d failed tool calls in a row", maxFaults),
	}
	return &agent.Error{Code: task.CodeStepLimit, Permanent: true, Message: "the agent has no answer within its limit of " + what[why] + "; raise limits of the agent, or ask for less"}
}

// spend notes what an answer has cost.
func (l *meter) spend(u chat.Usage, cost int64, currency string, calls int64) {
	l.used = l.used.Add(task.Usage{
		ModelCalls: calls, InputTokens: u.Input, CachedInputTokens: u.Cached, OutputTokens: u.Output, ReasoningTokens: u.Reasoning,
		Cost: cost, Currency: currency, Estimated: u.Estimated,
	})
	l.job.Used(l.used, "")
}

// total is what the task has used, its children included.
func (l *meter) total() task.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used.Add(l.children)
}

// timeLeft is how much of a limit of time is left; ok: there is one.
func (l *meter) timeLeft() (left time.Duration, ok bool) {
	if l.limits.Time == 0 {
		return 0, false
	}
	return time.Until(l.began.Add(l.limits.Time)), true
}
