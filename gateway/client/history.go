package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"agentmesh/gateway/api"
)

// HistoryFilter says which minutes are asked for. Zero values leave it to the gateway.
type HistoryFilter struct {
	Since time.Duration // 1m to 30m; 0: 15m
	Step  time.Duration // a multiple of 10s; 0: 10s
	Agent string        // empty: all
}

// Query is the filter as the gateway takes it.
func (f HistoryFilter) Query() url.Values {
	q := url.Values{}
	if f.Since > 0 {
		q.Set("since", f.Since.String())
	}
	if f.Step > 0 {
		q.Set("step", f.Step.String())
	}
	if f.Agent != "" {
		q.Set("agent", f.Agent)
	}
	return q
}

// History reads what became of tasks in the last minutes. Only an admin may.
func (c *Client) History(ctx context.Context, f HistoryFilter) (*api.StatsHistory, error) {
	var h api.StatsHistory
	err := c.call(ctx, http.MethodGet, "/stats/history?"+f.Query().Encode(), nil, nil, &h)
	return &h, err
}
