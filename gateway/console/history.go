package console

import (
	"fmt"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// charts are those of the overview: each is a table that an island draws.
type charts struct{ Charts []chart }

type chart struct {
	ID, Title, Unit string
	Summary         string // what the curves say, in words
	Series          []string
	Rows            []chartRow
}

type chartRow struct {
	At     time.Time
	Values []string
}

// add puts a moment into the chart.
func (c *chart) add(at time.Time, values ...float64) {
	row := chartRow{At: at}
	for _, v := range values {
		row.Values = append(row.Values, strconv.FormatFloat(v, 'f', -1, 64))
	}
	c.Rows = append(c.Rows, row)
}

// historyOf is what the gateway has counted of the last minutes; nil: the visitor may
// not read it.
func historyOf(v *visit) (*charts, error) {
	h, err := optional(v.api.History(v.ctx(), client.HistoryFilter{}))
	if err != nil || h == nil || len(h.Points) == 0 {
		return nil, err
	}
	return chartsOf(h), nil
}

// chartsOf draws four curves of the last minutes.
func chartsOf(h *api.StatsHistory) *charts {
	rate := chart{ID: "rate", Title: "Accepted and ended, a minute", Series: []string{"accepted", "ended"}}
	run := chart{ID: "run", Title: "Run time, in seconds", Series: []string{"half of them", "19 of 20"}}
	failed := chart{ID: "failed", Title: "Failed, a minute", Series: []string{"failed"}}
	oldest := chart{ID: "oldest", Title: "Oldest that waits, in seconds", Series: []string{"oldest"}}
	var accepted, ended, fails int
	var slowest, longest float64
	perMinute := 60 / max(h.Step, 1)
	points := h.Points[:max(len(h.Points)-1, 1)] // the last one is not over
	for _, p := range points {
		over := p.Completed + p.Failed + p.Canceled
		accepted, ended, fails = accepted+p.Accepted, ended+over, fails+p.Failed
		slowest = max(slowest, p.P95)
		rate.add(p.At, float64(p.Accepted)*perMinute, float64(over)*perMinute)
		run.add(p.At, p.P50/1000, p.P95/1000)
		failed.add(p.At, float64(p.Failed)*perMinute)
		age := 0.0
		if p.Now != nil {
			age = p.Now.OldestAge
		}
		longest = max(longest, age)
		oldest.add(p.At, age)
	}
	minutes := int(h.To.Sub(h.From).Minutes() + .5)
	rate.Summary = fmt.Sprintf("%s accepted and %s ended in %d minutes", num(accepted), num(ended), minutes)
	run.Summary = "19 of 20 took up to " + seconds(slowest/1000)
	failed.Summary = fmt.Sprintf("%s failed, %d %% of those that ended", num(fails), percent(fails, ended))
	oldest.Summary = "the longest waited " + seconds(longest)
	return &charts{[]chart{rate, run, failed, oldest}}
}

// lately is what became of tasks in the last minutes; nil: the visitor may not read it.
func lately(v *visit) (*api.StatsHistory, error) {
	if !v.may("admin") {
		return nil, nil
	}
	return optional(v.api.History(v.ctx(), client.HistoryFilter{Step: time.Minute}))
}

// flowsOf is who has called whom.
func flowsOf(past *api.StatsHistory) (all []flow) {
	if past == nil {
		return nil
	}
	for _, c := range past.Calls {
		all = append(all, flow{From: c.Caller, To: c.Callee, Count: c.Calls, Failed: c.Failed})
	}
	return all
}
