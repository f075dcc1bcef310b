package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// ledger has the allowances of a worker: parts of the budgets of tenants, taken in one
// write and spent without another one. What is not needed any more is given back.
type ledger struct {
	w *Worker

	mu     sync.Mutex
	purses map[purseOf]*purse
}

type purseOf struct {
	tenant string
	period task.Period
}

// purse is the allowance of one budget.
type purse struct {
	ledger *ledger
	tenant string
	lock   chan struct{} // holds one while it is changed; a fake clock knows it

	budget   task.Budget
	start    time.Time
	left     task.Amount // that nobody has reserved
	reserved task.Amount
	open     int         // reservations
	spent    task.Amount // that no account has yet
	byAgent  map[string]task.Amount
	byModel  map[string]task.Amount
	timer    *time.Timer
}

// slip is a reservation.
type slip struct {
	task.Amount
	start time.Time // of its period
}

const (
	idlePurse = 30 * time.Second // then what is left is given back
	// purseWait is how long a job waits for what others hold, longer than they hold it
	// without need.
	purseWait = 45 * time.Second
	onePart   = 100 // of a budget is one allowance
)

// Reserve implements agent.Spender.
func (c *caller) Reserve(ctx context.Context, budgets []task.Budget, want, least task.Amount) (task.Amount, func(task.Amount, string), error) {
	var settles []func(task.Amount, string)
	settle := func(used task.Amount, model string) {
		for _, f := range settles {
			f(used, model)
		}
	}
	for _, b := range budgets {
		p := c.at.w.ledger.of(c.parent.Tenant, b.Period)
		given, err := p.take(ctx, b, want, least)
		if err != nil {
			settle(task.Amount{}, "")
			return task.Amount{}, nil, err
		}
		settles = append(settles, func(used task.Amount, model string) { p.settle(given, used, c.parent.Agent, model) })
		want = want.Least(given.Amount)
	}
	return want, settle, nil
}

func (l *ledger) of(tenant string, period task.Period) *purse {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := purseOf{tenant, period}
	if l.purses == nil {
		l.purses = map[purseOf]*purse{}
	}
	if l.purses[key] == nil {
		l.purses[key] = &purse{ledger: l, tenant: tenant, lock: make(chan struct{}, 1)}
	}
	return l.purses[key]
}

// close gives back what is left.
func (l *ledger) close(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.purses {
		p.lock <- struct{}{}
		p.stop()
		p.giveBack(ctx)
		<-p.lock
	}
}

// take reserves a part. While others hold what is missing it waits.
func (p *purse) take(ctx context.Context, b task.Budget, want, least task.Amount) (given slip, err error) {
	for deadline := time.Now().Add(purseWait); ; {
		given, wait, end, err := p.try(ctx, b, want, least)
		switch {
		case err != nil:
			return given, err
		case b.Covers(given.Amount, least):
			return given, nil
		case !wait || time.Now().After(deadline):
			return given, &agent.Error{Code: task.CodeBudgetExhausted, Permanent: true, Message: fmt.Sprintf(
				"the budget of the tenant for this %s is used up; it begins anew at %s", b.Period, end.Format(time.RFC3339))}
		}
		if !pause.For(ctx, time.Second) {
			return given, context.Cause(ctx)
		}
	}
}

// try reserves what there is. wait says that more may come back.
func (p *purse) try(ctx context.Context, b task.Budget, want, least task.Amount) (given slip, wait bool, end time.Time, err error) {
	select {
	case p.lock <- struct{}{}:
		defer func() { <-p.lock }()
	case <-ctx.Done():
		return given, false, end, context.Cause(ctx)
	}
	p.turn(b)
	if !b.Covers(p.left, want) {
		part := task.Amount{Tokens: b.Tokens / onePart, Cost: b.Cost / onePart}
		more := want.Minus(p.left).Most(part)
		if wait, end, err = p.book(ctx, more.Most(task.Amount{})); err != nil {
			return given, false, end, err
		}
	}
	given = slip{want, p.start}
	if b.Tokens > 0 {
		given.Tokens = max(0, min(want.Tokens, p.left.Tokens))
	}
	if b.Cost > 0 {
		given.Cost = max(0, min(want.Cost, p.left.Cost))
	}
	if !b.Covers(given.Amount, least) {
		if p.open == 0 { // others may have enough with it
			p.giveBack(ctx)
		}
		return given, wait || p.open > 0, end, nil
	}
	p.left, p.reserved = p.left.Minus(given.Amount), p.reserved.Plus(given.Amount)
	p.open++
	p.arm()
	return given, false, end, nil
}

// turn begins a new period. What no account has yet of the one before is spent in it.
func (p *purse) turn(b task.Budget) {
	start, _ := b.Period.Bounds(time.Now())
	if p.start.Equal(start) {
		p.budget = b
		return
	}
	p.budget, p.start, p.left, p.reserved = b, start, task.Amount{}, task.Amount{}
}

// book tells the account what was spent, and asks for more.
func (p *purse) book(ctx context.Context, more task.Amount) (others bool, end time.Time, err error) {
	w := p.ledger.w
	claim := task.Claim{Worker: w.id, Spent: p.spent, ByAgent: p.byAgent, ByModel: p.byModel, Holds: p.left.Plus(p.reserved).Most(task.Amount{}), Want: more}
	at := patience{w.store, w.log}
	var given task.Amount
	err = at.untilAnswered(ctx, func() (err error) {
		given, others, end, err = w.core.Budgets.Take(ctx, p.tenant, p.budget, claim)
		return err
	})
	if err != nil {
		return false, end, err
	}
	p.spent, p.byAgent, p.byModel = task.Amount{}, nil, nil
	p.left = p.left.Plus(given)
	return others, end, nil
}

// settle ends a reservation.
func (p *purse) settle(given slip, used task.Amount, agent, model string) {
	p.lock <- struct{}{}
	defer func() { <-p.lock }()
	p.open--
	if given.start.Equal(p.start) { // else its period is over
		p.reserved = p.reserved.Minus(given.Amount).Most(task.Amount{})
		p.left = p.left.Plus(given.Minus(used))
	}
	p.spent = p.spent.Plus(used)
	if used != (task.Amount{}) {
		p.byAgent, p.byModel = add(p.byAgent, agent, used), add(p.byModel, model, used)
	}
	p.arm()
}

func add(to map[string]task.Amount, name string, a task.Amount) map[string]task.Amount {
	if to == nil {
		to = map[string]task.Amount{}
	}
	to[name] = to[name].Plus(a)
	return to
}

// arm has the account told in a while: what was spent, and that the worker is there.
func (p *purse) arm() {
	p.stop()
	p.timer = time.AfterFunc(idlePurse, p.look)
}

func (p *purse) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// look tells the account, and gives back what nobody has used for a while.
func (p *purse) look() {
	p.lock <- struct{}{}
	defer func() { <-p.lock }()
	ctx, cancel := context.WithTimeout(context.Background(), idlePurse)
	defer cancel()
	if p.open == 0 {
		p.giveBack(ctx)
		return
	}
	if _, _, err := p.book(ctx, task.Amount{}); err != nil {
		p.ledger.w.log.Warn("budget not told", "tenant", p.tenant, "error", err)
	}
	p.arm()
}

// giveBack gives the account what is left.
func (p *purse) giveBack(ctx context.Context) {
	if p.left == (task.Amount{}) && p.spent == (task.Amount{}) || p.start.IsZero() {
		return
	}
	left := p.left
	p.left = task.Amount{}
	if _, _, err := p.book(ctx, task.Amount{}); err != nil {
		p.left = left
		p.ledger.w.log.Warn("budget not given back", "tenant", p.tenant, "error", err)
		if p.timer == nil && !p.ledger.w.store.Closed() {
			p.arm()
		}
	}
}
