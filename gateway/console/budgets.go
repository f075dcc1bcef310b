package console

import (
	"math"
	"strconv"
	"time"

	"agentmesh/gateway/client"
)

// budgetsScreen is what the tenant may use of models, and what is used of it.
var budgetsScreen = screen{name: "budgets", path: "/budgets", title: "Budgets", load: loadBudgets, live: []string{"budgets-all"}, every: 5 * time.Second}

type budgetsPage struct{ Budgets []budgetCard }

// budgetCard is a budget and how far it is used.
type budgetCard struct {
	client.Budget
	Shares []budgetShare
	Status string
}

// budgetShare is one limit of a budget.
type budgetShare struct {
	Name, Spent, Held, Limit string
	Percent, Elapsed         int // of the limit that is spent or held, and of the period that is over
}

// Ahead reports whether more is spent than time has passed, so that it may not last.
func (s budgetShare) Ahead() bool { return s.Percent > s.Elapsed && s.Percent >= 50 }

func loadBudgets(v *visit) (any, error) {
	all, err := v.api.Budgets(v.ctx())
	p := &budgetsPage{}
	for _, b := range all {
		p.Budgets = append(p.Budgets, budgetOf(b, v.now()))
	}
	return p, err
}

func budgetOf(b client.Budget, now time.Time) budgetCard {
	c := budgetCard{Budget: b, Status: "open"}
	if b.Exhausted {
		c.Status = "used_up"
	}
	elapsed := percent(int(now.Sub(b.Start)/time.Second), int(b.End.Sub(b.Start)/time.Second))
	tokens := func(n int64) string { return num(int(n)) }
	if b.Tokens > 0 {
		c.Shares = append(c.Shares, budgetShare{"Tokens", tokens(b.Spent.Tokens), tokens(b.Held.Tokens), tokens(b.Tokens), ratio(float64(b.Spent.Tokens+b.Held.Tokens), float64(b.Tokens)), elapsed})
	}
	if b.Cost > 0 {
		c.Shares = append(c.Shares, budgetShare{"Cost", cost(b.Spent.Cost), cost(b.Held.Cost), cost(b.Cost), ratio(b.Spent.Cost+b.Held.Cost, b.Cost), elapsed})
	}
	return c
}

// ratio is a share in percent; what is not nothing is at least one.
func ratio(part, whole float64) int {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return min(100, max(1, int(math.Floor(part/whole*100))))
}

// cost is an amount of money in the currency of the prices.
func cost(v float64) string {
	if v != 0 && math.Abs(v) < .01 {
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
