package mesh

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
)

// Budgets are what tenants may use of models. Agents bring the limits; what was used
// stands in one account for each tenant and period.
type Budgets struct{ *core }

// BudgetView is a budget of a tenant as it stands.
type BudgetView struct {
	*task.Account
	Agents []string // that it holds for
}

// List are the budgets that hold for the caller's tenant now.
func (c Budgets) List(ctx context.Context, who auth.Caller) (all []BudgetView, err error) {
	of := map[task.Period]int{}
	for _, d := range c.agents.all() {
		for _, b := range task.BudgetsOf(d.Budgets, who.Tenant) {
			i, known := of[b.Period]
			if !known {
				a, err := c.store.Accounts.Get(ctx, who.Tenant, b, time.Now())
				if err != nil {
					return nil, err
				}
				i = len(all)
				of[b.Period], all = i, append(all, BudgetView{Account: a})
			}
			if !slices.Contains(all[i].Agents, d.Name) {
				all[i].Agents = append(all[i].Agents, d.Name)
			}
		}
	}
	slices.SortFunc(all, func(a, b BudgetView) int { return cmp.Compare(a.End.Sub(a.Start), b.End.Sub(b.Start)) })
	return all, nil
}

// admit refuses new work of an agent for which a budget of the tenant is used up. Both
// ways by which work comes into the mesh ask it before they accept: that of tasks, and
// that of turns. Schedules, hooks, retries and the protocols go through them. A request
// that may be the repeat of one that was accepted gets its first answer: then refused is
// why it may be nothing else.
func (c Budgets) admit(ctx context.Context, tenant, agent string, key *Key) (refused, err error) {
	refused = c.open(ctx, tenant, agent)
	if refused == nil {
		return nil, nil
	}
	if known, err := answers(c).accepted(ctx, tenant, key); err != nil || !known {
		return nil, refused
	}
	return refused, nil
}

// open is a refusal of new work of an agent for which a budget of the tenant is used up.
func (c Budgets) open(ctx context.Context, tenant, agent string) error {
	a := c.agents.find(agent)
	if a == nil || len(a.Budgets) == 0 {
		return nil
	}
	for _, b := range task.BudgetsOf(a.Budgets, tenant) {
		account, err := c.store.Accounts.Get(ctx, tenant, b, time.Now())
		if err != nil {
			return err
		}
		spent.see(account)
		if account.Exhausted() {
			return limited(ErrQuotaExceeded, time.Until(account.End), "The tenant has used up its budget of the %s for models. GET /budgets shows it; it begins anew at %s.",
				b.Period, account.End.Format(time.RFC3339))
		}
	}
	return nil
}

// Take books what a worker has spent of a budget, and gives it more, as far as there is
// some. others says that other workers hold a part of it.
func (c Budgets) Take(ctx context.Context, tenant string, b task.Budget, claim task.Claim) (given task.Amount, others bool, end time.Time, err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		now := time.Now()
		a, err := c.store.Accounts.Get(ctx, tenant, b, now)
		if err != nil {
			return given, false, end, err
		}
		given = a.Take(claim, now)
		tell := c.due(a)
		err = c.store.Accounts.Save(ctx, a)
		if errors.Is(err, task.ErrConflict) && pause.For(ctx, wait) {
			continue
		}
		if err == nil && tell {
			c.log.Warn("budget", "tenant", tenant, "period", b.Period, "part", a.Part(), "tokens", a.Spent.Tokens, "cost_millionths", a.Spent.Cost, "ends", a.End)
		}
		if err == nil {
			spent.see(a)
		}
		_, own := a.Held[claim.Worker]
		return given, len(a.Held) > 1 || len(a.Held) == 1 && !own, a.End, err
	}
}

// due reports whether operators are to be told of an account now: at its warn_at, and
// when it is used up.
func (c Budgets) due(a *task.Account) bool {
	part, told := a.Part(), a.Told
	for _, at := range []float64{a.Limit.WarnAt, 1} {
		if at > 0 && part >= at && told < at {
			a.Told = max(a.Told, at)
		}
	}
	return a.Told > told
}
