package task

import (
	"maps"
	"slices"
	"time"
)

// Budget bounds what the tasks of a tenant may use of models in a period.
type Budget struct {
	Tenant string  `json:"tenant"` // "*": each tenant for itself that has none of its own
	Period Period  `json:"period"`
	Tokens int64   `json:"tokens,omitempty"`          // 0: no bound
	Cost   int64   `json:"cost_millionths,omitempty"` // 0: no bound
	WarnAt float64 `json:"warn_at,omitempty"`         // the part of it at which operators are told
}

// Period is how long a budget lasts, in UTC.
type Period string

// The periods.
const (
	Hourly  Period = "hour"
	Daily   Period = "day"
	Monthly Period = "month"
)

// Bounds are the beginning and the end of the period that has a moment.
func (p Period) Bounds(at time.Time) (start, end time.Time) {
	at = at.UTC()
	switch p {
	case Hourly:
		start = at.Truncate(time.Hour)
		return start, start.Add(time.Hour)
	case Monthly:
		start = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 1, 0)
	}
	start = time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 0, 1)
}

// BudgetsOf are those that hold for a tenant: of a period its own, or else that of all.
func BudgetsOf(all []Budget, tenant string) (of []Budget) {
	for _, b := range all {
		own := func(o Budget) bool { return o.Tenant == tenant && o.Period == b.Period }
		if b.Tenant == tenant || b.Tenant == "*" && !slices.ContainsFunc(all, own) {
			of = append(of, b)
		}
	}
	return of
}

// Amount is a part of a budget.
type Amount struct {
	Tokens int64 `json:"tokens,omitempty"`
	Cost   int64 `json:"cost_millionths,omitempty"`
}

// Plus is both, and Minus what is left.
func (a Amount) Plus(o Amount) Amount  { return Amount{a.Tokens + o.Tokens, a.Cost + o.Cost} }
func (a Amount) Minus(o Amount) Amount { return Amount{a.Tokens - o.Tokens, a.Cost - o.Cost} }

// Least is the smaller of each, and at least nothing.
func (a Amount) Least(o Amount) Amount {
	return Amount{max(0, min(a.Tokens, o.Tokens)), max(0, min(a.Cost, o.Cost))}
}

// Most is the larger of each.
func (a Amount) Most(o Amount) Amount {
	return Amount{max(a.Tokens, o.Tokens), max(a.Cost, o.Cost)}
}

// Covers reports whether a is enough for o, of what a budget bounds.
func (b Budget) Covers(a, o Amount) bool {
	return (b.Tokens == 0 || a.Tokens >= o.Tokens) && (b.Cost == 0 || a.Cost >= o.Cost)
}

// Account is what became of a budget in one period: what is spent, and what workers
// hold to spend it. Both together never pass the limit, so far as a call takes no more
// than was reserved for it.
type Account struct {
	Tenant  string             `json:"tenant"`
	Limit   Budget             `json:"limit"` // as a worker's file had it last
	Start   time.Time          `json:"start"`
	End     time.Time          `json:"end"`
	Spent   Amount             `json:"spent"`
	Held    map[string]Holding `json:"held,omitempty"` // by worker
	ByAgent map[string]Amount  `json:"by_agent,omitempty"`
	ByModel map[string]Amount  `json:"by_model,omitempty"`
	Told    float64            `json:"told,omitempty"` // the part at which operators were told last
	Changed time.Time          `json:"changed"`
	Writer  string             `json:"writer,omitempty"`

	Rev uint64 `json:"-"`
}

// Holding is an allowance of a worker.
type Holding struct {
	Amount
	At time.Time `json:"at"` // when the worker last said so
}

// HoldingLasts is how long a worker that says nothing keeps its allowance. Then it counts
// as spent: nobody knows how much of it was.
const HoldingLasts = 3 * time.Minute

// maxBy is how many agents or models an account tells apart.
const maxBy = 200

// NewAccount is that of a budget for a moment.
func NewAccount(tenant string, b Budget, at time.Time) *Account {
	a := &Account{Tenant: tenant, Limit: b}
	a.Start, a.End = b.Period.Bounds(at)
	return a
}

// Free is what nobody has spent or holds.
func (a *Account) Free() Amount {
	free := Amount{a.Limit.Tokens, a.Limit.Cost}.Minus(a.Spent)
	for _, h := range a.Held {
		free = free.Minus(h.Amount)
	}
	return free
}

// Exhausted reports whether all of it is spent.
func (a *Account) Exhausted() bool {
	return a.Limit.Tokens > 0 && a.Spent.Tokens >= a.Limit.Tokens || a.Limit.Cost > 0 && a.Spent.Cost >= a.Limit.Cost
}

// Part is how much of it is spent, from 0.
func (a *Account) Part() (part float64) {
	if a.Limit.Tokens > 0 {
		part = float64(a.Spent.Tokens) / float64(a.Limit.Tokens)
	}
	if a.Limit.Cost > 0 {
		part = max(part, float64(a.Spent.Cost)/float64(a.Limit.Cost))
	}
	return part
}

// Claim is what a worker says to an account: what it has spent since it said so last,
// what it holds besides, and how much more it wants.
type Claim struct {
	Worker  string
	Spent   Amount
	ByAgent map[string]Amount
	ByModel map[string]Amount
	Holds   Amount
	Want    Amount
}

// Take books a claim, and gives the worker as much of what it wants as is free.
func (a *Account) Take(c Claim, at time.Time) (given Amount) {
	for worker, h := range a.Held {
		if at.Sub(h.At) > HoldingLasts {
			a.Spent = a.Spent.Plus(h.Amount)
			delete(a.Held, worker)
		}
	}
	a.Spent = a.Spent.Plus(c.Spent)
	a.ByAgent, a.ByModel = booked(a.ByAgent, c.ByAgent), booked(a.ByModel, c.ByModel)
	delete(a.Held, c.Worker)
	if given = c.Want; a.Limit.Tokens > 0 || a.Limit.Cost > 0 {
		free := a.Free().Minus(c.Holds)
		if a.Limit.Tokens > 0 {
			given.Tokens = max(0, min(given.Tokens, free.Tokens))
		}
		if a.Limit.Cost > 0 {
			given.Cost = max(0, min(given.Cost, free.Cost))
		}
	}
	if holds := c.Holds.Plus(given); holds != (Amount{}) {
		if a.Held == nil {
			a.Held = map[string]Holding{}
		}
		a.Held[c.Worker] = Holding{holds, Stamp(at)}
	}
	a.Changed, a.Writer = Stamp(at), c.Worker
	return given
}

func booked(book, more map[string]Amount) map[string]Amount {
	if len(more) == 0 {
		return book
	}
	if book = maps.Clone(book); book == nil {
		book = map[string]Amount{}
	}
	for name, amount := range more {
		if _, ok := book[name]; !ok && len(book) >= maxBy {
			name = "others"
		}
		book[name] = book[name].Plus(amount)
	}
	return book
}
