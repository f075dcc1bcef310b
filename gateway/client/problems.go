package client

import (
	"context"
	"net/http"
	"net/url"

	"agentmesh/gateway/api"
)

// Problems lists what each code of a refusal, or of a failed task, means.
func (c *Client) Problems(ctx context.Context) ([]api.ProblemPage, error) {
	var list api.ProblemList
	err := c.call(ctx, http.MethodGet, "/problems", nil, nil, &list)
	return list.Problems, err
}

// Problem reads what one code means.
func (c *Client) Problem(ctx context.Context, code string) (*api.ProblemPage, error) {
	var p api.ProblemPage
	err := c.call(ctx, http.MethodGet, "/problems/"+url.PathEscape(code), nil, nil, &p)
	return &p, err
}

// Version reads which build the gateway is, and on which NATS server it runs.
func (c *Client) Version(ctx context.Context) (*api.Version, error) {
	var v api.Version
	err := c.call(ctx, http.MethodGet, "/version", nil, nil, &v)
	return &v, err
}
