package client

import (
	"context"
	"net/http"
	"net/url"

	"agentmesh/gateway/api"
)

// List reads a page of sessions, newest change first, those with one agent when it is
// named. next is empty after the last page.
func (c Sessions) List(ctx context.Context, agent, cursor string) (page []Session, next string, err error) {
	q := url.Values{}
	if agent != "" {
		q.Set("agent", agent)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out api.SessionList
	err = c.call(ctx, http.MethodGet, "/sessions?"+q.Encode(), nil, nil, &out)
	for _, s := range out.Sessions {
		page = append(page, Session{Session: s})
	}
	return page, out.NextCursor, err
}
