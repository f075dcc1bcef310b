package llm

import (
	"context"
	"errors"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// answered is what the journal keeps of an answer.
type answered struct {
	chat.Answer
	By       string `json:"by"` // the model of the file that has answered
	Cost     int64  `json:"cost_millionths,omitempty"`
	Currency string `json:"currency,omitempty"`
}

// noRoom says that a limit has no room for an answer, and which.
type noRoom string

// Error implements error.
func (n noRoom) Error() string { return "no room for an answer within the limit of " + string(n) }

// maxWaits is how often a task waits for a rate limit at one answer.
const maxWaits = 20

// ask has the model answer, once whatever becomes of the task. A server that wants to
// be left alone for long is waited for without a slot.
func (l *loop) ask(ctx context.Context, choice string) (*answered, error) {
	for waits := 0; ; waits++ {
		answer, err := l.step(ctx, choice)
		var e *chat.Error
		switch {
		case err == nil:
			return answer, nil
		case !errors.As(err, &e):
			return nil, err
		case e.Code == chat.NoFormat && !l.noFormat:
			l.noFormat = true
		case e.Code == chat.ContextFull && l.compacts == 0:
			if err := l.compact(ctx, l.request(choice).Estimate()/2); err != nil {
				return nil, err
			}
		case e.Retry && e.RetryAfter > chat.Patience && waits < maxWaits && l.job.Turn == nil:
			if err := l.job.Sleep(ctx, e.RetryAfter); err != nil {
				return nil, err
			}
		default:
			return nil, failure(e)
		}
	}
}

// failure is an error of a model for whoever runs the task.
func failure(e *chat.Error) *agent.Error {
	code := string(e.Code)
	if e.Code == chat.NoFormat {
		code = task.CodeModelRejected
	}
	return &agent.Error{Code: code, Message: e.Message, Detail: e.Detail, Permanent: !e.Retry, RetryAfter: e.RetryAfter, Err: e}
}

// step is one answer of the model as a step of the journal. What it depends on is all
// that the model is asked: an edited conversation is asked anew.
func (l *loop) step(ctx context.Context, choice string) (*answered, error) {
	if err := l.fit(ctx, choice); err != nil {
		return nil, err
	}
	r := l.request(choice)
	m := l.catalog.models[l.Model]
	most, err := l.room(m, r)
	if err != nil {
		return nil, err
	}
	shows := &live{job: l.job, agent: l.compiled, at: l.out, end: l.out}
	l.fresh = false
	v, err := agent.Step(ctx, l.job, "model", func(ctx context.Context, _ agent.StepInfo) (answered, error) {
		l.fresh, r.MaxTokens = true, most
		return l.paid(ctx, m, r, shows)
	}, agent.Key(l.depends(m, r)))
	if err != nil {
		return nil, l.failed(m, err)
	}
	l.rounds++
	l.out = shows.done(v.Content)
	l.spend(v.Usage.Add(v.Wasted), v.Cost, v.Currency, 1)
	if v.Finish == chat.Filtered {
		return nil, &agent.Error{Code: task.CodeModelRefused, Permanent: true, Message: "the model's answer was cut off by its content filter"}
	}
	if v.Finish == chat.Length {
		l.job.Warn("an answer of the model was cut at its limit of tokens")
	}
	return &v, nil
}

// failed counts what a model has used that has no answer.
func (l *loop) failed(m *model, err error) error {
	var e *chat.Error
	if errors.As(err, &e) && e.Usage.Total() > 0 {
		cost, currency := m.cost(e.Usage)
		l.spend(e.Usage, cost, currency, 0)
	}
	return err
}

// answer asks the model, or one in its place when it is away.
func (c *Catalog) answer(ctx context.Context, m *model, r chat.Request, shows *live) (answered, error) {
	var first error
	for _, name := range append([]string{m.name}, m.Fallback...) {
		by := c.models[name]
		a, err := c.traced(ctx, by, r, shows)
		if err == nil {
			a.Content = c.mask.text(a.Content)
			for i := range a.Calls {
				a.Calls[i].Arguments = c.mask.text(a.Calls[i].Arguments)
			}
			v := answered{Answer: *a, By: name}
			v.Cost, v.Currency = by.cost(a.Usage.Add(a.Wasted))
			return v, nil
		}
		if first == nil {
			first = err
		}
		var e *chat.Error
		if !errors.As(err, &e) || !e.Retry || ctx.Err() != nil {
			return answered{}, err
		}
		shows.restart()
	}
	return answered{}, first
}
