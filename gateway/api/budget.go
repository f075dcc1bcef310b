package api

import "time"

// Budget is what a tenant may use of models in the period that runs.
type Budget struct {
	Period    string      `json:"period" enum:"hour,day,month"`
	Start     time.Time   `json:"start"`
	End       time.Time   `json:"end" doc:"Then it begins anew."`
	Tokens    int64       `json:"tokens,omitempty" doc:"The limit; left out: none."`
	Cost      float64     `json:"cost,omitempty" doc:"The limit; left out: none."`
	Spent     Spent       `json:"spent"`
	Held      Spent       `json:"held" doc:"What workers hold to spend it. They give back what they do not need."`
	Exhausted bool        `json:"exhausted" doc:"New tasks of the agents are refused, 429 quota_exceeded."`
	Agents    []string    `json:"agents" doc:"That it holds for."`
	ByAgent   []SpentName `json:"by_agent" doc:"What is spent, by agent, as workers have told it: within half a minute."`
	ByModel   []SpentName `json:"by_model"`
}

// Spent is a part of a budget.
type Spent struct {
	Tokens int64   `json:"tokens"`
	Cost   float64 `json:"cost"`
}

// SpentName is what an agent or a model has spent.
type SpentName struct {
	Name   string  `json:"name"`
	Tokens int64   `json:"tokens"`
	Cost   float64 `json:"cost"`
}

// BudgetList is the answer of GET /budgets.
type BudgetList struct {
	Budgets []Budget `json:"budgets"`
}
