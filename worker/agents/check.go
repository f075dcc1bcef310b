package agents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agents/a2a"
	"agentmesh/worker/agents/mcp"
)

// Finding is what Check has found out about one agent.
type Finding struct {
	Agent string
	Note  string // the service's answer
	Err   error
}

// connectWithin bounds the try of one service.
const connectWithin = 5 * time.Second

// Check reads a file and tells whether its agents could be run here: their
// programs are there and may be executed, and with connect their services
// answer. The error is that of the file itself. It runs no agent.
func Check(ctx context.Context, path string, connect bool) ([]Finding, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	specs, err := Parse(path, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	all := make([]Finding, 0, len(specs))
	for _, s := range specs {
		f := Finding{Agent: s.Name}
		switch {
		case s.Exec != nil:
			f.Err = s.Exec.Check()
		case s.HTTP != nil && connect:
			try, cancel := context.WithTimeout(ctx, connectWithin)
			f.Note, f.Err = s.HTTP.Check(try)
			if errors.Is(f.Err, context.DeadlineExceeded) && ctx.Err() == nil {
				f.Err = fmt.Errorf("it does not answer within %v", connectWithin)
			}
			cancel()
		case s.MCP != nil:
			f.Note, f.Err = checkTool(ctx, s.MCP, connect)
		case s.A2A != nil && connect:
			try, cancel := context.WithTimeout(ctx, connectWithin)
			var d task.Definition
			if f.Err = a2a.NewClient(*s.A2A, a2a.Options{}).Describe(try, &d); f.Err == nil {
				f.Note = "its card is there"
			}
			cancel()
		case s.Builtin != "":
			_, f.Err = s.Agent(Options{})
		}
		all = append(all, f)
	}
	return all, nil
}

// checkTool tries whether a server of tools can be reached, and has the tool.
func checkTool(ctx context.Context, c *mcp.AgentConfig, connect bool) (string, error) {
	if err := c.Check(); err != nil || !connect {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, toolsWithin)
	defer cancel()
	client := mcp.NewClient(c.Config, mcp.Options{})
	defer client.Close()
	_, err := client.Tool(ctx, c.Tool)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("it does not list its tools within %v", toolsWithin)
	}
	return "it has the tool " + c.Tool, err
}

// toolsWithin bounds the try of a server of tools, whose program may be fetched first.
const toolsWithin = 30 * time.Second
