package client

import (
	"context"
	"iter"
	"net/url"

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
