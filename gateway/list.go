package gateway

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

const maxPage = 200

// listTasks is GET /tasks.
func (g *Gateway) listTasks(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	f, err := filterOf(q)
	if err != nil {
		return err
	}
	found, err := g.mesh.Tasks.List(r.Context(), callerOf(r), f, limit, q.Get("cursor"))
	if err != nil {
		return err
	}
	page := api.TaskList{Tasks: make([]api.Task, 0, len(found.Tasks)), NextCursor: found.Next, Scanned: found.Scanned}
	for _, t := range found.Tasks {
		page.Tasks = append(page.Tasks, g.view(linksOf(w), t))
	}
	if found.Next != "" {
		q.Set("cursor", found.Next)
		w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
	}
	return writeJSON(w, http.StatusOK, page)
}

// pageLimit reads ?limit=.
func pageLimit(q url.Values) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return 50, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, mesh.Refuse(problem.ErrBadQuery, "limit is %q, allowed is 1 to %d.", mesh.Clip(s, 32), maxPage)
	}
	return n, nil
}

// filterOf reads what a listing asks for.
func filterOf(q url.Values) (mesh.Filter, error) {
	f := mesh.Filter{Labels: map[string]string{}}
	for name, values := range q {
		v := values[0]
		if v == "" && !strings.HasPrefix(name, labelParam) {
			continue // lenient
		}
		switch {
		case name == "status":
			statuses := listed(q, name)
			for _, s := range statuses {
				if !task.State(s).Valid() {
					return f, mesh.Refuse(problem.ErrBadQuery, "status is %q, allowed are %v, several separated by commas.", mesh.Clip(s, 32), task.States)
				}
				f.Statuses = append(f.Statuses, task.State(s))
			}
		case name == "agent":
			f.Agent = v
		case name == "parent_id":
			f.Parent = v
		case name == "session_id":
			f.Session = v
		case name == "order" && v == "changed":
			continue // it is what there is without
		case name == "order":
			if f.Created = v == "created"; !f.Created {
				return f, mesh.Refuse(problem.ErrBadQuery, "order is %q, allowed are changed and created.", mesh.Clip(v, 32))
			}
		case name == "error":
			f.Error = v
		case name == "kind":
			if f.Kind = task.Kind(v); !f.Kind.Valid() {
				return f, mesh.Refuse(problem.ErrBadQuery, "kind is %q, allowed are %v.", mesh.Clip(v, 32), task.Kinds)
			}
		case name == "created_after", name == "created_before":
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return f, mesh.Refuse(problem.ErrBadQuery, "%s is %q, it must be a time such as 2026-05-19T10:30:00Z.", name, mesh.Clip(v, 64))
			}
			if name == "created_after" {
				f.CreatedAfter = at
			} else {
				f.CreatedBefore = at
			}
		case strings.HasPrefix(name, labelParam):
			f.Labels[strings.TrimPrefix(name, labelParam)] = v
		}
	}
	return f, nil
}
