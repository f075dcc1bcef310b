package agent

import (
	"context"

	"agentmesh/shared/task"
)

// Spender is a Caller that keeps the budgets of tenants. The worker is one.
type Spender interface {
	Reserve(ctx context.Context, budgets []task.Budget, want, least task.Amount) (task.Amount, func(used task.Amount, model string), error)
}

// Reserve takes a part of the budgets of the job's tenant before it is spent: as much as
// it wants, or what there is, if that is least. What is not bounded is given as it is
// wanted. settle says, once, what was used, and gives the rest back. The error is
// permanent, code budget_exhausted, where there is not enough.
func (j *Job) Reserve(ctx context.Context, budgets []task.Budget, want, least task.Amount) (given task.Amount, settle func(used task.Amount, model string), err error) {
	s, ok := j.caller.(Spender)
	if budgets = task.BudgetsOf(budgets, j.Tenant); !ok || len(budgets) == 0 {
		return want, func(task.Amount, string) {}, nil
	}
	return s.Reserve(ctx, budgets, want, least)
}
