package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"agentmesh/gateway/api"
)

// List lists the agents that the mesh knows.
func (c Agents) List(ctx context.Context) ([]Agent, error) {
	var out api.AgentList
	err := c.call(ctx, http.MethodGet, "/agents", nil, nil, &out)
	return out.Agents, err
}

// Delete has the mesh forget an agent that no live worker serves. Tasks
// that wait for it are not lost: waiting is how many go on waiting for a worker
// that serves an agent of this name.
func (c Agents) Delete(ctx context.Context, name string) (waiting int, err error) {
	resp, err := c.do(ctx, http.MethodDelete, "/agents/"+url.PathEscape(name), nil, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		return 0, nil
	}
	var left api.RemovedAgent
	if err := json.NewDecoder(resp.Body).Decode(&left); err != nil {
		return 0, fmt.Errorf("delete agent %s: read the answer: %w", name, err)
	}
	return left.Waiting, nil
}

// Get reads an agent.
func (c Agents) Get(ctx context.Context, name string) (*Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodGet, "/agents/"+url.PathEscape(name), nil, nil, &a)
	return &a, err
}

// Pause has no worker begin a task of an agent until somebody resumes it, or until d
// has passed (0: there is no end). Only an admin may.
func (c Agents) Pause(ctx context.Context, name string, d time.Duration) (*Agent, error) {
	var body []byte
	if d > 0 {
		var err error
		if body, err = json.Marshal(api.PauseAgent{For: d.String()}); err != nil {
			return nil, fmt.Errorf("pause agent %s: %w", name, err)
		}
	}
	return c.turn(ctx, name, "pause", body)
}

// Resume has workers take the tasks of an agent again. Only an admin may.
func (c Agents) Resume(ctx context.Context, name string) (*Agent, error) {
	return c.turn(ctx, name, "resume", nil)
}

func (c Agents) turn(ctx context.Context, name, to string, body []byte) (*Agent, error) {
	var a Agent
	err := c.call(ctx, http.MethodPost, "/agents/"+url.PathEscape(name)+"/"+to, jsonBody, body, &a)
	return &a, err
}
