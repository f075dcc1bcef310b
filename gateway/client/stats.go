package client

import (
	"context"
	"net/http"

	"agentmesh/gateway/api"
)

// Stats is what waits and runs in the whole mesh.
type Stats = api.Stats

// AgentStats is the queue of one agent.
type AgentStats = api.AgentStats

// Stats counts what waits and runs.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	var s Stats
	err := c.call(ctx, http.MethodGet, "/stats", nil, nil, &s)
	return &s, err
}

// WhoAmI is who the gateway takes the client for.
type WhoAmI = api.WhoAmI

// WhoAmI reads the tenant and the scopes of the client's credentials.
func (c *Client) WhoAmI(ctx context.Context) (*WhoAmI, error) {
	var me WhoAmI
	err := c.call(ctx, http.MethodGet, "/whoami", nil, nil, &me)
	return &me, err
}
