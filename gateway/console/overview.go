package console

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// overviewScreen is the first page: how the mesh is, and what needs a person.
var overviewScreen = screen{
	name: "overview", path: "/{$}", title: "Overview", chart: true, load: loadOverview,
	live: []string{"overview-tiles", "overview-charts", "overview-needs", "overview-queues", "overview-recent"}, every: 3 * time.Second, hears: hearsTasks,
}

// overview is what the first page shows. What its visitor may not read is left out.
type overview struct {
	Stats   *client.Stats // nil: for admins only
	Agents  []client.Agent
	Needs   []need
	Recent  []client.Task
	Running int
	Slots   int
	Waiting int
	Oldest  float64
	Charts  *charts
	Queues  []client.AgentStats // those with the most to do
	Workers []api.WorkerStats
}

// need is one thing that waits for a person.
type need struct {
	Kind     string // question, failed or dead
	Task     *client.Task
	Delivery *client.Delivery

	Questions []questionForm
}

// Bounds of the overview.
const (
	needsMost   = 8
	recentMost  = 8
	queuesMost  = 12
	workersMost = 8
	failedSince = 15 * time.Minute
)

func loadOverview(v *visit) (_ any, err error) {
	o := &overview{}
	if v.may("admin") {
		if o.Stats, err = optional(v.api.Stats(v.ctx())); err != nil {
			return nil, err
		}
		if o.Charts, err = historyOf(v); err != nil {
			return nil, err
		}
	}
	o.count()
	if o.Agents, err = optional(v.api.Agents.List(v.ctx())); err != nil {
		return nil, err
	}
	if o.Recent, err = v.tasks(client.Filter{Limit: recentMost}); err != nil {
		return nil, err
	}
	o.Needs, err = needsOf(v)
	return o, err
}

// count sums what is said of the agents.
func (o *overview) count() {
	if o.Stats == nil {
		return
	}
	for _, a := range o.Stats.Agents {
		o.Waiting += a.Waiting
		o.Running += a.InFlight
		o.Slots += a.Slots
		o.Oldest = max(o.Oldest, a.OldestAge)
	}
	o.Queues = slices.Clone(o.Stats.Agents)
	if len(o.Queues) > queuesMost { // else they stay where a reader has seen them
		slices.SortStableFunc(o.Queues, func(a, b client.AgentStats) int { return cmp.Or(b.Waiting-a.Waiting, b.InFlight-a.InFlight) })
		o.Queues = o.Queues[:queuesMost]
	}
	o.Workers = o.Stats.Workers[:min(len(o.Stats.Workers), workersMost)]
}

// tasks lists the first tasks, none where the visitor may not.
func (v *visit) tasks(f client.Filter) ([]client.Task, error) {
	page, _, err := v.api.Tasks.List(v.ctx(), f, "")
	if refused(err) {
		return nil, nil
	}
	return page, err
}

// needsOf is what waits for a person: questions, what has failed in the last minutes, and
// what receivers never took.
func needsOf(v *visit) (all []need, err error) {
	asked, err := v.tasks(client.Filter{Statuses: []string{"input_required"}, Limit: needsMost})
	if err != nil {
		return nil, err
	}
	for i := range asked {
		all = append(all, need{Kind: "question", Task: &asked[i], Questions: questionsOf(&asked[i], "n"+strconv.Itoa(i))})
	}
	failed, err := v.tasks(client.Filter{Statuses: []string{"failed"}, Limit: needsMost})
	if err != nil {
		return nil, err
	}
	for i := range failed {
		if v.now().Sub(failed[i].UpdatedAt) < failedSince {
			all = append(all, need{Kind: "failed", Task: &failed[i]})
		}
	}
	dead, _, err := v.api.Deliveries.List(v.ctx(), client.DeliveryFilter{Status: "dead", Limit: needsMost}, "")
	if err != nil && !refused(err) {
		return nil, err
	}
	for i := range dead {
		all = append(all, need{Kind: "dead", Delivery: &dead[i]})
	}
	return all[:min(len(all), 2*needsMost)], nil
}
