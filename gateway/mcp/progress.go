package mcp

import (
	"context"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/task"
)

// teller tells a client that sent a token how its call goes.
type teller struct {
	session    *sdk.ServerSession
	token      any
	percent    int // told last; -1: nothing
	message    string
	milestones int
}

func newTeller(req *sdk.CallToolRequest) *teller {
	return &teller{session: req.Session, token: req.Params.GetProgressToken(), percent: -1}
}

// progress tells what is new in a record. It never falls, and an equal value is told
// again with another message only.
func (t *teller) progress(ctx context.Context, now *task.Task) {
	if t == nil || t.token == nil {
		return
	}
	percent, message := max(t.percent, 0), now.Message
	if now.Percent != nil {
		percent = *now.Percent
	}
	if n := len(now.Milestones); n > 0 && now.Milestones[n-1].N > t.milestones {
		last := now.Milestones[n-1]
		if t.milestones, message = last.N, last.Message; message == "" {
			message = last.Name
		}
	} else if now.Percent == nil && message == "" {
		return
	}
	if percent < t.percent || percent == t.percent && (message == t.message || message == "") {
		return
	}
	t.percent, t.message = percent, message
	// A client that is gone is noticed by the end of its request.
	_ = t.session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: t.token, Progress: float64(percent), Total: 100, Message: message})
}
