package gateway

import (
	"context"
	"maps"
	"slices"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// budgets are the operations on budgets.
type budgets struct{ mesh *mesh.Mesh }

func (h budgets) routes() []route {
	return []route{
		operation("GET", "/budgets", auth.TasksRead, "listBudgets", "List the tenant's budgets for models, and what is used of them", h.listBudgets),
	}
}

// listBudgets is GET /budgets.
func (h budgets) listBudgets(ctx context.Context, in plain) (api.BudgetList, error) {
	all, err := h.mesh.Budgets.List(ctx, in.caller())
	list := api.BudgetList{Budgets: make([]api.Budget, 0, len(all))}
	for _, b := range all {
		list.Budgets = append(list.Budgets, budgetView(b))
	}
	return list, err
}

func budgetView(b mesh.BudgetView) api.Budget {
	held := task.Amount{}
	for _, h := range b.Held {
		held = held.Plus(h.Amount)
	}
	return api.Budget{
		Period: string(b.Limit.Period), Start: b.Start, End: b.End, Tokens: b.Limit.Tokens, Cost: money(b.Limit.Cost),
		Spent: api.Spent{Tokens: b.Spent.Tokens, Cost: money(b.Spent.Cost)}, Held: api.Spent{Tokens: held.Tokens, Cost: money(held.Cost)},
		Exhausted: b.Exhausted(), Agents: b.Agents, ByAgent: spentNames(b.ByAgent), ByModel: spentNames(b.ByModel),
	}
}

func money(millionths int64) float64 { return float64(millionths) / 1e6 }

func spentNames(of map[string]task.Amount) []api.SpentName {
	all := make([]api.SpentName, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, api.SpentName{Name: name, Tokens: of[name].Tokens, Cost: money(of[name].Cost)})
	}
	return all
}
