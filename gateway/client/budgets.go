package client

import (
	"context"
	"net/http"

	"agentmesh/gateway/api"
)

// Budget is what a tenant may use of models in the period that runs, as the gateway
// writes it.
type Budget = api.Budget

// Budgets lists the budgets of the tenant.
func (c *Client) Budgets(ctx context.Context) ([]Budget, error) {
	var out api.BudgetList
	err := c.call(ctx, http.MethodGet, "/budgets", nil, nil, &out)
	return out.Budgets, err
}
