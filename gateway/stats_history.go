package gateway

import (
	"context"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
)

// historyQuery asks for the last minutes.
type historyQuery struct {
	request
	Since string `query:"since" doc:"How far back, 1m to 30m; 15m when left out. The first who asks has what is kept of 15 minutes."`
	Step  string `query:"step" doc:"Of one point: a multiple of 10s, 10s when left out."`
	Agent string `query:"agent" doc:"Only of this agent."`
}

// getHistory is GET /stats/history.
func (h stats) getHistory(ctx context.Context, in historyQuery) (out fresh[api.StatsHistory], err error) {
	since, step := 15*time.Minute, mesh.HistoryStep
	for _, one := range []struct {
		name, text string
		to         *time.Duration
	}{{"since", in.Since, &since}, {"step", in.Step, &step}} {
		if one.text == "" {
			continue
		}
		if *one.to, err = time.ParseDuration(one.text); err != nil {
			return out, mesh.Refuse(problem.ErrBadQuery, "%s is %q, it must be a duration such as 15m.", one.name, mesh.Clip(one.text, 32))
		}
	}
	past, err := h.mesh.History.Read(ctx, in.caller(), since, step, in.Agent)
	if err != nil {
		return out, asQuery(err)
	}
	return fresh[api.StatsHistory]{Body: historyOf(past, step)}, nil
}

// asQuery has faults of fields be those of query parameters.
func asQuery(err error) error {
	if e := mesh.RefusalOf(err); e.Refusal == mesh.ErrValidationFailed {
		return mesh.Refuse(problem.ErrBadQuery, "%s", e.Detail)
	}
	return err
}

func historyOf(p mesh.Past, step time.Duration) *api.StatsHistory {
	v := &api.StatsHistory{
		From: p.From, To: p.To, Step: step.Seconds(), Whole: p.Whole, Filling: p.Filling,
		Points: make([]api.HistoryPoint, 0, len(p.Points)), Agents: []api.HistoryAgent{}, Calls: []api.HistoryCalls{},
	}
	for _, x := range p.Points {
		point := api.HistoryPoint{At: x.At, HistoryCounts: countsOf(x.Counts), Queued: x.Queued}
		if x.Now != nil {
			point.Now = &api.HistoryGauge{Waiting: x.Now.Waiting, InFlight: x.Now.InFlight, OldestAge: x.Now.Oldest.Seconds()}
		}
		v.Points = append(v.Points, point)
	}
	for _, a := range p.Agents {
		v.Agents = append(v.Agents, api.HistoryAgent{Name: a.Agent, HistoryCounts: countsOf(a.Counts)})
	}
	for _, c := range p.Calls {
		v.Calls = append(v.Calls, api.HistoryCalls{Caller: c.Caller, Callee: c.Callee, Calls: c.Count, Failed: c.Failed})
	}
	return v
}

func countsOf(c mesh.Counts) api.HistoryCounts {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return api.HistoryCounts{Accepted: c.Accepted, Completed: c.Completed, Failed: c.Failed, Canceled: c.Canceled, P50: ms(c.P50), P95: ms(c.P95)}
}
