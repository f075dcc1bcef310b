package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/a2a"
	"agentmesh/worker/agents/llm/chat"
	"agentmesh/worker/agents/mcp"
	"agentmesh/worker/agents/synadia"
)

// Finding is what Check has found out about one agent, or about a part of what it needs.
type Finding struct {
	Agent string
	Part  string // such as "model fast"; empty: the agent itself
	Note  string // what was seen
	Err   error
}

// CheckOptions say how far Check goes.
type CheckOptions struct {
	Connect bool         // what is elsewhere is reached
	NATS    synadia.Dial // nil: agents on NATS are not reached
}

// Bounds of a try: a program of tools may be fetched first.
const (
	connectWithin = 5 * time.Second
	toolsWithin   = 30 * time.Second
	answersWithin = 2 * time.Second
)

// Check reads a file and tells whether its agents could be run here: their
// programs are there and may be executed, and where that is asked for the services,
// models, servers of tools and agents of others that they need answer. The error is
// that of the file itself. It runs no agent.
func Check(ctx context.Context, path string, o CheckOptions) ([]Finding, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	specs, err := Parse(path, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	found := make([][]Finding, len(specs))
	var made sync.WaitGroup
	for i, s := range specs {
		made.Go(func() { found[i] = s.check(ctx, o) })
	}
	made.Wait()
	return slices.Concat(found...), nil
}

// check looks at one agent.
func (s Spec) check(ctx context.Context, o CheckOptions) []Finding {
	f := Finding{Agent: s.Name}
	switch {
	case s.Exec != nil:
		f.Err = s.Exec.Check()
	case s.MCP != nil:
		f.Note, f.Err = checkTools(ctx, s.MCP.Config, o, s.MCP.Tool)
	case s.LLM != nil:
		return s.checkModel(ctx, o)
	case s.Builtin != "":
		_, f.Err = s.Agent(Options{})
	case !o.Connect:
	case s.HTTP != nil:
		f.Note, f.Err = within(ctx, connectWithin, func(ctx context.Context) (string, error) {
			status, err := s.HTTP.Check(ctx)
			return "it answers " + status, err
		})
	case s.A2A != nil:
		f.Note, f.Err = within(ctx, connectWithin, func(ctx context.Context) (string, error) {
			var d task.Definition
			return "its card is there", a2a.NewClient(*s.A2A, a2a.Options{}).Describe(ctx, &d)
		})
	case s.Synadia != nil && o.NATS != nil:
		f.Note, f.Err = within(ctx, connectWithin+answersWithin, func(ctx context.Context) (string, error) { return checkPeer(ctx, *s.Synadia, o.NATS) })
	}
	return []Finding{f}
}

// within bounds a try.
func within(ctx context.Context, d time.Duration, try func(context.Context) (string, error)) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	note, err := try(bounded)
	if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("it does not answer within %v", d)
	}
	if err != nil {
		return "", err
	}
	return note, nil
}

// checkModel looks at what an agent needs that is a model with its tools.
func (s Spec) checkModel(ctx context.Context, o CheckOptions) (all []Finding) {
	add := func(part, note string, err error) { all = append(all, Finding{s.Name, part, note, err}) }
	for models, i := []string{s.LLM.Model}, 0; o.Connect && i < len(models); i++ {
		m, ok := s.file.Models[models[i]]
		if !ok {
			continue
		}
		note, err := within(ctx, connectWithin, chat.New(m.Config, nil).Check)
		add("model "+models[i], note, err)
		for _, next := range m.Fallback {
			if !slices.Contains(models, next) {
				models = append(models, next)
			}
		}
	}
	for _, use := range s.LLM.Tools {
		if server, ok := s.file.servers[use.Set]; ok {
			note, err := checkTools(ctx, server, o, s.file.Tools[use.Set].Allow...)
			add("tools "+use.Set, note, err)
		}
	}
	if len(all) == 0 {
		add("", "", nil)
	}
	return all
}

// checkTools tries whether a server of tools can be reached, and has the tools.
func checkTools(ctx context.Context, c mcp.Config, o CheckOptions, tools ...string) (string, error) {
	if err := c.Check(); err != nil || !o.Connect {
		return "", err
	}
	return within(ctx, toolsWithin, func(ctx context.Context) (string, error) {
		client := mcp.NewClient(c, mcp.Options{})
		defer client.Close()
		all, err := client.Tools(ctx)
		if err != nil {
			return "", err
		}
		for _, name := range tools {
			if _, err := client.Tool(ctx, name); err != nil {
				return "", err
			}
		}
		if len(tools) == 1 {
			return "it has the tool " + tools[0], nil
		}
		return fmt.Sprintf("it has %d tools", len(all)), nil
	})
}

// checkPeer tries whether an agent answers on NATS, and speaks as this mesh does.
func checkPeer(ctx context.Context, c synadia.Config, dial synadia.Dial) (string, error) {
	conn, _, err := dial(ctx, c.Place)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	all, err := conn.Discover(ctx, answersWithin)
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if i.Agent != c.Agent || i.Owner != c.Owner || i.Name != c.Name {
			continue
		}
		if !i.Speaks() {
			return "", fmt.Errorf("it speaks version %q of the protocol, which this mesh does not", i.Protocol)
		}
		return "it answers, version " + i.Version, nil
	}
	return "", fmt.Errorf("no agent %s.%s.%s answers there (%d do): it is offline, or the names are others; mesh agents discover lists them", c.Agent, c.Owner, c.Name, len(all))
}
