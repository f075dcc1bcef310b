package console

import (
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

var (
	// agentsScreen shows the agents as cards, as a map of their calls, and as a table;
	// agentScreen is one of them.
	agentsScreen = screen{name: "agents", path: "/agents", title: "Agents", load: loadAgents, live: []string{"agents-view"}, every: 3 * time.Second}
	agentScreen  = screen{
		name: "agent", path: "/agents/{id}", nav: "agents", load: loadAgent, named: func(body any) string { return body.(*agentPage).A.Name },
		live: []string{"agent-head", "agent-workers", "agent-recent"}, every: 3 * time.Second, hears: hearsTasks,
	}
	workersScreen = screen{name: "workers", path: "/workers", title: "Workers", load: loadWorkers, live: []string{"workers-rows"}, every: 3 * time.Second}
)

// agentsPage is all agents.
type agentsPage struct {
	View   string // cards, map or table
	Views  []tab
	Agents window[agentCard]
	Calls  []flow
	Map    *meshMap
}

// agentCard is an agent and its queue.
type agentCard struct {
	client.Agent
	Slots, Busy int
	Queue       *client.AgentStats // nil: for admins only
	Ended       int                // lately
	Failing     int                // of these, in percent
}

// count says how many tasks of the agent have failed of those that ended in the last
// minutes.
func (c *agentCard) count(past *api.StatsHistory) {
	if past == nil {
		return
	}
	for _, a := range past.Agents {
		if a.Name == c.Name {
			c.Ended = a.Completed + a.Failed + a.Canceled
			c.Failing = percent(a.Failed, c.Ended)
		}
	}
}

// flow is how often one agent has called another one lately.
type flow struct {
	From, To      string
	Count, Failed int
}

// cardsMost is how many agents a map is still read with: with more the table comes first.
const cardsMost = 30

func loadAgents(v *visit) (any, error) {
	agents, err := v.api.Agents.List(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &agentsPage{View: v.q("view")}
	if p.View == "" {
		p.View = "cards"
		if len(agents) > cardsMost {
			p.View = "table"
		}
	}
	for _, one := range []tab{{Name: "cards", Text: "Cards"}, {Name: "map", Text: "Map"}, {Name: "table", Text: "Table"}} {
		one.Query, one.Here = with(v.r.URL.Query(), "view", one.Name), one.Name == p.View
		p.Views = append(p.Views, one)
	}
	stats, err := v.stats()
	if err != nil {
		return nil, err
	}
	past, err := lately(v)
	if err != nil {
		return nil, err
	}
	all := make([]agentCard, len(agents))
	for i, a := range agents {
		all[i] = cardOf(a, stats)
		all[i].count(past)
	}
	p.Agents = windowOf(v.r.URL.Query(), all, func(a agentCard) string { return a.Name + " " + a.Description })
	p.Calls = flowsOf(past)
	if p.View == "map" {
		p.Map = drawMap(all, p.Calls)
	}
	return p, nil
}

// stats is what waits and runs; nil for who may not read it.
func (v *visit) stats() (*client.Stats, error) {
	if !v.may("admin") {
		return nil, nil
	}
	return optional(v.api.Stats(v.ctx()))
}

func cardOf(a client.Agent, stats *client.Stats) agentCard {
	c := agentCard{Agent: a}
	for _, w := range a.Workers {
		c.Slots, c.Busy = c.Slots+w.Slots, c.Busy+w.Busy
	}
	if stats != nil {
		for i, s := range stats.Agents {
			if s.Name == a.Name {
				c.Queue = &stats.Agents[i]
			}
		}
	}
	return c
}

// agentPage is one agent.
type agentPage struct {
	A       agentCard
	Recent  []client.Task
	Failing int // of the newest tasks that have ended, in percent
	Ended   int
}

func loadAgent(v *visit) (any, error) {
	agents, err := v.api.Agents.List(v.ctx())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(agents, func(a client.Agent) bool { return a.Name == v.id() })
	if i < 0 {
		return nil, errNoPage
	}
	stats, err := v.stats()
	if err != nil {
		return nil, err
	}
	p := &agentPage{A: cardOf(agents[i], stats)}
	if p.Recent, err = v.tasks(client.Filter{Agent: v.id(), Limit: 20, Order: client.ByCreation}); err != nil {
		return nil, err
	}
	failed := 0
	for _, t := range p.Recent {
		if t.Done {
			p.Ended++
		}
		if t.Status == "failed" {
			failed++
		}
	}
	p.Failing = percent(failed, p.Ended)
	return p, nil
}

func pauseAgent(v *visit) (string, error) {
	var d time.Duration
	if text := v.form("for"); text != "" {
		d, _ = time.ParseDuration(text)
	}
	_, err := v.api.Agents.Pause(v.ctx(), v.id(), d)
	return "agents/" + v.id() + "?said=paused", err
}

func resumeAgent(v *visit) (string, error) {
	_, err := v.api.Agents.Resume(v.ctx(), v.id())
	return "agents/" + v.id() + "?said=resumed", err
}

func deleteAgent(v *visit) (string, error) {
	_, err := v.api.Agents.Delete(v.ctx(), v.id())
	return "agents?said=deleted", err
}

// workersPage is the live workers.
type workersPage struct{ Workers window[workerRow] }

type workerRow struct {
	api.WorkerStats
	Versions string
	Tasks    []client.Task // those that it runs
}

// tasksOfWorker is how many tasks are shown of each worker.
const tasksOfWorker = 5

func loadWorkers(v *visit) (any, error) {
	agents, err := v.api.Agents.List(v.ctx())
	if err != nil {
		return nil, err
	}
	stats, err := v.stats()
	if err != nil {
		return nil, err
	}
	var all []workerRow
	if stats != nil {
		for _, w := range stats.Workers {
			all = append(all, workerRow{WorkerStats: w})
		}
	} else {
		all = workersOf(agents)
	}
	p := &workersPage{windowOf(v.r.URL.Query(), all, func(w workerRow) string {
		return w.WorkerID + " " + w.Host + " " + strings.Join(w.Agents, " ")
	})}
	for i := range p.Workers.Rows {
		w := &p.Workers.Rows[i]
		if w.Versions = versionsOf(agents, w.WorkerID); w.Busy == 0 {
			continue
		}
		if w.Tasks, err = v.tasks(client.Filter{Worker: w.WorkerID, Statuses: []string{"processing"}, Limit: tasksOfWorker}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// workersOf are the workers as the agents know them.
func workersOf(agents []client.Agent) (all []workerRow) {
	for _, a := range agents {
		for _, w := range a.Workers {
			i := slices.IndexFunc(all, func(r workerRow) bool { return r.WorkerID == w.WorkerID })
			if i < 0 {
				i = len(all)
				all = append(all, workerRow{WorkerStats: api.WorkerStats{WorkerID: w.WorkerID, StartedAt: w.StartedAt}})
			}
			all[i].Agents = append(all[i].Agents, a.Name)
			all[i].Slots, all[i].Busy = all[i].Slots+w.Slots, all[i].Busy+w.Busy
		}
	}
	return all
}

// versionsOf are the versions of the agents that a worker serves.
func versionsOf(agents []client.Agent, worker string) string {
	var all []string
	for _, a := range agents {
		for _, w := range a.Workers {
			if w.WorkerID == worker && w.Version != "" {
				all = append(all, a.Name+" "+w.Version)
			}
		}
	}
	return strings.Join(all, ", ")
}
