package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// GetWith reads a task with parts that are left out otherwise: input, error_detail.
func (c Tasks) GetWith(ctx context.Context, id string, parts ...string) (*Task, error) {
	var t Task
	err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"?include="+url.QueryEscape(strings.Join(parts, ",")), nil, nil, &t)
	return &t, err
}

// History reads what has happened to a task so far, first event first. Output is not
// among it.
func (c Tasks) History(ctx context.Context, id string) ([]Event, error) {
	var list struct {
		Events []struct {
			ID   uint64          `json:"id"`
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		} `json:"events"`
	}
	err := c.call(ctx, http.MethodGet, "/tasks/"+url.PathEscape(id)+"/events", http.Header{"Accept": {"application/json"}}, nil, &list)
	if err != nil {
		return nil, err
	}
	var all []Event
	for _, one := range list.Events {
		e := Event{ID: strconv.FormatUint(one.ID, 10), Type: one.Type, Data: one.Data}
		switch one.Type {
		case "status", "progress":
			e.Task = &Task{}
			err = json.Unmarshal(one.Data, e.Task)
		case "milestone":
			e.Milestone = &Milestone{}
			err = json.Unmarshal(one.Data, e.Milestone)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
