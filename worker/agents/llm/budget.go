package llm

import (
	"context"
	"errors"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/llm/chat"
)

// usualAnswer is how long an answer in tokens may be that has no bound but a budget's.
const usualAnswer = 16 << 10

// paid is an answer within the budgets of the tenant: what it may take is reserved
// before the model is asked.
func (l *loop) paid(ctx context.Context, m *model, r chat.Request, shows *live) (answered, error) {
	asked := r.Estimate()
	longest := r.MaxTokens
	if longest == 0 {
		longest = usualAnswer
	}
	price := func(out int64) task.Amount {
		cost, _ := m.cost(chat.Usage{Input: asked, Output: out})
		return task.Amount{Tokens: asked + out, Cost: cost}
	}
	given, settle, err := l.job.Reserve(ctx, l.catalog.budgets, price(longest), price(min(longest, leastAnswer)))
	if err != nil {
		return answered{}, err
	}
	if room := m.longest(given, asked, longest); len(task.BudgetsOf(l.catalog.budgets, l.job.Tenant)) > 0 {
		r.MaxTokens = room
	}
	a, err := l.catalog.answer(ctx, m, r, shows)
	used, cost := a.Usage.Add(a.Wasted), a.Cost
	if e := (*chat.Error)(nil); errors.As(err, &e) {
		used = e.Usage
		cost, _ = m.cost(used)
	}
	settle(task.Amount{Tokens: used.Total(), Cost: cost}, m.name)
	return a, err
}

// longest is the longest answer that an amount pays for.
func (m *model) longest(given task.Amount, asked, most int64) int64 {
	most = min(most, given.Tokens-asked)
	if p := m.Price; p != nil && p.Output > 0 {
		most = min(most, (given.Cost*1_000_000-asked*p.Input)/p.Output)
	}
	return max(most, 1)
}
