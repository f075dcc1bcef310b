package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"agentmesh/gateway/api"
)

// Step is one thing that the agent of a task has finished, or what a wait came to.
type Step = api.Step

// Steps reads the journal of a task in the order in which it was written, page after
// page. values: with the values; large ones are at their ValueURL.
func (c Tasks) Steps(ctx context.Context, id string, values bool) iter.Seq2[Step, error] {
	q := url.Values{"limit": {"200"}}
	if values {
		q.Set("include", "values")
	}
	return func(yield func(Step, error) bool) {
		for page, err := range pages(ctx, c.wire, "/tasks/"+url.PathEscape(id)+"/steps", q, func(p *api.StepList) string { return p.NextCursor }) {
			if err != nil {
				yield(Step{}, err)
				return
			}
			for _, s := range page.Steps {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// StepValue streams the value of one entry, however large.
func (c Tasks) StepValue(ctx context.Context, id, kind, name string, n int) (io.ReadCloser, error) {
	q := url.Values{"kind": {kind}, "name": {name}, "n": {strconv.Itoa(n)}}
	resp, err := c.do(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/steps/value?"+q.Encode(), nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Tell keeps a line of an agent that runs, by the lease of its attempt: a step, a
// checkpoint or what it waits for. It is durable when Tell returns. Where no answer came
// the same line, with its N, may be told again.
func (c Tasks) Tell(ctx context.Context, id, lease string, line api.Line) (*api.LineKept, error) {
	body, err := json.Marshal(line)
	if err != nil {
		return nil, fmt.Errorf("tell task %s: %w", id, err)
	}
	var kept api.LineKept
	err = c.call(ctx, http.MethodPost, "/tasks/"+url.PathEscape(id)+"/steps", http.Header{"Authorization": {"Bearer " + lease}, "Content-Type": {"application/json"}}, body, &kept)
	return &kept, err
}
