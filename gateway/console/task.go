package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"agentmesh/gateway/client"
)

// taskScreen is one task.
var taskScreen = screen{
	name: "task", path: "/tasks/{id}", nav: "tasks", load: loadTask, named: func(body any) string { return "Task " + short(body.(*taskPage).T.TaskID) },
	live: []string{"task-head", "task-question", "task-fall", "task-tab"}, every: 5 * time.Second, hears: hearsTask,
	over: func(body any) bool { return body.(*taskPage).over },
}

// taskPage is a task and what belongs to it.
type taskPage struct {
	T         *client.Task
	Tab       string
	Tabs      []tab
	Why       string // it does not run
	Fall      *fall
	Children  []branch
	Steps     []client.Step
	Sent      []client.Delivery
	Events    []client.Event
	Output    string
	Record    []byte
	Questions []questionForm
	Calls     []call

	over bool
}

// branch is a task that another one has called, and those that it has called itself.
type branch struct {
	client.Task
	Children []branch
}

// tab is one view of what a page is about.
type tab struct {
	Name, Text string
	Count      int
	Query      string
	Here       bool
}

// questionForm is a question and the form of its answer.
type questionForm struct {
	client.Question
	Form *field
}

// heard is what the stream of a task has told while its page is followed.
type heard struct {
	mu    sync.Mutex
	turn  string // of a session: whose output it is
	text  string
	ended bool
}

// outputMost is how much of the output a page shows, its end.
const outputMost = 64 << 10

func (h *heard) add(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.text += text; len(h.text) > outputMost {
		h.text = strings.ToValidUTF8(h.text[len(h.text)-outputMost:], "")
	}
}

func (h *heard) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

func (h *heard) all() (text string, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text, h.ended
}

// Bounds of what is read for the page of one task.
const (
	childrenMost = 50 // of all generations
	childrenDeep = 4
	stepsMost    = 200
	outputWithin = 400 * time.Millisecond
)

func loadTask(v *visit) (any, error) {
	parts := []string{"input"}
	if v.may("tasks:debug") {
		parts = append(parts, "error_detail")
	}
	t, err := v.api.Tasks.GetWith(v.ctx(), v.id(), parts...)
	if err != nil {
		return nil, err
	}
	p := &taskPage{T: t, Tab: v.q("tab")}
	p.Questions = questionsOf(t, "")
	if t.Waiting != nil {
		p.Why = why(t)
	}
	if err := p.family(v); err != nil {
		return nil, err
	}
	p.Fall = p.draw(v.now())
	p.tabs(v)
	if err := p.open(v); err != nil {
		return nil, err
	}
	if _, ended := v.heard.all(); ended && t.Done {
		p.over = true
	} else if t.Done && !wantsStream(v.r) {
		p.over = !p.settling(v.now())
	}
	return p, nil
}

// settling reports whether something may still come for a task that has ended: its
// deliveries.
func (p *taskPage) settling(now time.Time) bool {
	return now.Sub(p.T.FinishedAt) < 5*time.Second || slices.ContainsFunc(p.Sent, func(d client.Delivery) bool { return d.Status == "pending" || d.Status == "retrying" })
}

// family reads what belongs to the task: children, steps and deliveries. What the
// visitor may not read is left out.
func (p *taskPage) family(v *visit) (err error) {
	id := p.T.TaskID
	left := childrenMost
	if p.Children, err = v.branches(p.T, &left, childrenDeep); err != nil {
		return err
	}
	for s, err := range v.api.Tasks.Steps(v.ctx(), id, p.Tab == "steps" && !v.c.o.HidePayloads) {
		if err != nil {
			if gone(err) {
				break
			}
			return err
		}
		if p.Steps = append(p.Steps, s); len(p.Steps) >= stepsMost {
			break
		}
	}
	p.Sent, err = optional(v.api.Tasks.Deliveries(v.ctx(), id))
	return err
}

// branches are the tasks that one has called, oldest first, and theirs, as far as there is
// room.
func (v *visit) branches(of *client.Task, left *int, deep int) (all []branch, err error) {
	if len(of.Children) == 0 || *left <= 0 || deep == 0 {
		return nil, nil
	}
	called, err := v.tasks(client.Filter{ParentID: of.TaskID, Limit: *left, Order: client.ByCreation})
	if err != nil {
		return nil, err
	}
	slices.Reverse(called)
	*left -= len(called)
	for i := range called {
		more, err := v.branches(&called[i], left, deep-1)
		if err != nil {
			return nil, err
		}
		all = append(all, branch{called[i], more})
	}
	return all, nil
}

// questionsOf are the open questions of a task and their forms, whose ids begin with a
// word of their own.
func questionsOf(t *client.Task, ids string) (all []questionForm) {
	for i, q := range t.Questions {
		all = append(all, questionForm{q, formNamed(ids+"q"+strconv.Itoa(i)+"-", q.Schema)})
	}
	return all
}

// gone reports whether something is not there, or not for the visitor.
func gone(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && (p.Status == http.StatusGone || p.Status == http.StatusNotFound || p.Status == http.StatusForbidden)
}

func (p *taskPage) tabs(v *visit) {
	q := v.r.URL.Query()
	if p.Tab == "" {
		p.Tab = "result"
	}
	for _, one := range []tab{
		{Name: "result", Text: "Result"}, {Name: "input", Text: "Input"}, {Name: "events", Text: "Events"}, {Name: "output", Text: "Output"},
		{Name: "attempts", Text: "Attempts", Count: len(p.T.Attempts)}, {Name: "steps", Text: "Steps", Count: len(p.Steps)}, {Name: "children", Text: "Children", Count: len(p.T.Children)},
		{Name: "deliveries", Text: "Deliveries", Count: len(p.Sent)}, {Name: "record", Text: "Record"},
	} {
		if (one.Name == "steps" || one.Name == "children") && one.Count == 0 && p.Tab != one.Name {
			continue
		}
		one.Query, one.Here = with(q, "tab", one.Name), one.Name == p.Tab
		p.Tabs = append(p.Tabs, one)
	}
}

// open reads what only the open tab shows.
func (p *taskPage) open(v *visit) (err error) {
	switch p.Tab {
	case "events":
		p.Events, err = v.api.Tasks.History(v.ctx(), p.T.TaskID)
		slices.Reverse(p.Events)
	case "output":
		p.Output = outputOf(v, p.T)
	case "record":
		p.Calls = []call{{Method: http.MethodGet, Path: "/tasks/" + p.T.TaskID, Command: "mesh task get " + p.T.TaskID}}
		p.Record, err = json.Marshal(p.T)
	}
	return err
}

// outputOf is what the stream has told; where nothing follows it, what it tells within a
// moment.
func outputOf(v *visit, t *client.Task) string {
	if text, _ := v.heard.all(); text != "" || wantsStream(v.r) {
		return text
	}
	ctx, cancel := context.WithTimeout(v.ctx(), outputWithin)
	defer cancel()
	var h heard
	for e, err := range v.api.Tasks.Events(ctx, t.TaskID) {
		if err != nil {
			break
		}
		h.add(e.Output)
	}
	text, _ := h.all()
	return text
}

// why says in a sentence why a task does not run.
func why(t *client.Task) string {
	w := t.Waiting
	later := ""
	if !w.NextAttempt.IsZero() {
		later = " " + ago(time.Since(w.NextAttempt))
	}
	place := ""
	if w.Position > 0 {
		place = " It is number " + num(w.Position) + " in the line."
	}
	switch w.Reason {
	case "session":
		return "Other turns of its session come first." + place
	case "scheduled":
		return "It was asked to begin later:" + later + "."
	case "retrying":
		return "The last attempt failed. The next one begins" + later + "."
	case "sleeping":
		return "Its agent sleeps and goes on" + later + "."
	case "waiting_for_event":
		return "Its agent waits for an event, which is told by POST /tasks/{id}/input."
	case "waiting_for_child":
		return "Its agent has called another one, and waits for that task."
	case "no_live_worker":
		return "No live worker serves the agent " + t.Agent + ". Start one, and it runs."
	case "mesh_limit":
		return "As many tasks of the agent run as may (" + num(w.Limit) + ")." + place
	case "queued":
		return "All slots are taken." + place
	case "starting":
		return "A worker has it and is about to begin."
	case "paused":
		return "The agent is paused. Resume it, and the task runs."
	}
	return words(w.Reason)
}

// taskActions are the forms of a task's page.
func cancelTask(v *visit) (string, error) {
	_, err := v.api.Tasks.Cancel(v.ctx(), v.id())
	return "tasks/" + v.id() + "?said=canceled", err
}

func retryTask(v *visit) (string, error) {
	var t *client.Task
	var err error
	if from := v.form("from"); from != "" {
		t, err = v.api.Tasks.RetryFrom(v.ctx(), v.id(), from, client.CreateOptions{})
	} else {
		t, err = v.api.Tasks.Retry(v.ctx(), v.id(), client.CreateOptions{})
	}
	if err != nil {
		return "", err
	}
	return "tasks/" + t.TaskID + "?said=retried", nil
}

// deleteTask forgets a task that has ended.
func deleteTask(v *visit) (string, error) {
	return "tasks?said=deleted", v.api.Tasks.Delete(v.ctx(), v.id())
}

// answerTask answers a question by its form.
func answerTask(v *visit) (string, error) {
	t, err := v.api.Tasks.Get(v.ctx(), v.id())
	if err != nil {
		return "", err
	}
	name := v.form("question")
	var schema json.RawMessage
	for _, q := range t.Questions {
		if q.Name == name {
			schema = q.Schema
		}
	}
	value, err := formOf(schema, nil, v.r.PostForm).collect()
	if err != nil {
		v.status = http.StatusUnprocessableEntity
		return "", err
	}
	_, err = v.api.Tasks.Answer(v.ctx(), v.id(), client.Answer{Name: name, Value: value})
	return "tasks/" + v.id() + "?said=answered", err
}

// download sends a whole value as a file: a browser never shows it.
func download(read func(*visit) (io.ReadCloser, error), name string) func(*visit) error {
	return func(v *visit) error {
		if v.c.o.HidePayloads {
			v.status = http.StatusForbidden
			return errors.New("this console shows no payloads")
		}
		body, err := read(v)
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		h := v.w.Header()
		head := make([]byte, 512)
		n, _ := io.ReadFull(body, head)
		h.Set("Content-Type", "application/octet-stream")
		if c := bytes.TrimLeft(head[:n], " \n\r\t"); len(c) > 0 && strings.ContainsRune(`{["-0123456789tfn`, rune(c[0])) {
			h.Set("Content-Type", "application/json")
		}
		h.Set("Content-Disposition", `attachment; filename="`+class(v.id())+"-"+name+`.json"`)
		_, _ = io.Copy(v.w, io.MultiReader(bytes.NewReader(head[:n]), body)) // a reader that has gone
		return nil
	}
}

func readResult(v *visit) (io.ReadCloser, error) { return v.api.Tasks.Result(v.ctx(), v.id()) }
func readInput(v *visit) (io.ReadCloser, error)  { return v.api.Tasks.Input(v.ctx(), v.id()) }

// backTo is a page with its word of what was done.
func backTo(page, said string) string {
	mark := "?"
	if strings.Contains(page, "?") {
		mark = "&"
	}
	return page + mark + url.Values{"said": {said}}.Encode()
}
