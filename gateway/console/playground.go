package console

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"agentmesh/gateway/client"
)

var (
	// playgroundScreen chooses an agent, tryScreen is the form of one.
	playgroundScreen = screen{name: "playground", path: "/playground", title: "Playground", load: loadPlayground}
	tryScreen        = screen{name: "try", path: "/playground/{id}", nav: "playground", load: loadTry, named: func(body any) string { return "Try " + body.(*tryPage).Agent.Name }}
)

func loadPlayground(v *visit) (any, error) {
	agents, err := v.api.Agents.List(v.ctx())
	return agentsPage{Agents: windowOf(v.r.URL.Query(), cardsOf(agents), func(a agentCard) string { return a.Name + " " + a.Description })}, err
}

func cardsOf(agents []client.Agent) (all []agentCard) {
	for _, a := range agents {
		all = append(all, cardOf(a, nil))
	}
	return all
}

// tryPage is an agent's form, what is in it, and the same as a call.
type tryPage struct {
	Agent    client.Agent
	View     string // form or json: of the same value
	Form     *field
	JSON     string
	O        tryOptions
	Snippets []snippet
	faults
}

// tryOptions are the other members of a task.
type tryOptions struct{ Instruction, Labels, Delay, Timeout, Deadline, Attempts, Callback, Wait, Key string }

// agentOf reads one agent.
func agentOf(v *visit, name string) (client.Agent, error) {
	agents, err := v.api.Agents.List(v.ctx())
	if err != nil {
		return client.Agent{}, err
	}
	i := slices.IndexFunc(agents, func(a client.Agent) bool { return a.Name == name })
	if i < 0 {
		return client.Agent{}, errNoPage
	}
	return agents[i], nil
}

func loadTry(v *visit) (any, error) {
	a, err := agentOf(v, v.id())
	if err != nil {
		return nil, err
	}
	p := &tryPage{Agent: a, View: firstOf(v.q("view"), "form")}
	var value json.RawMessage
	if from := v.q("from"); from != "" && !v.c.o.HidePayloads { // the same again
		t, err := v.api.Tasks.GetWith(v.ctx(), from, "input")
		if err != nil {
			return nil, err
		}
		value = t.Input
		for k, val := range t.Labels {
			p.O.Labels += k + "=" + val + "\n"
		}
	}
	if len(a.InputSchema) == 0 {
		p.View = "json"
		if value == nil {
			value = json.RawMessage(`{"hello": "mesh"}`)
		}
	}
	p.Form = formOf(a.InputSchema, value, nil)
	if p.Form.Kind == "json" {
		p.View = "json"
	}
	if value == nil {
		value, _ = p.Form.collect() // a form that nobody has filled in may have no value
	}
	p.JSON = indented(value)
	p.describe(v, value)
	return p, nil
}

// describe says the same as calls.
func (p *tryPage) describe(v *visit, input json.RawMessage) {
	r, err := p.O.request(p.Agent.Name, input)
	if err != nil {
		return
	}
	body, err := json.Marshal(r)
	if err != nil {
		return
	}
	noun := "tasks"
	if r.CallbackURL != "" {
		noun = "actions"
	}
	c := call{Method: http.MethodPost, Path: "/" + noun, Body: body, Command: command(r, p.O.Key, p.O.Wait), Create: &created{Noun: noun, Key: p.O.Key}}
	if _, err := strconv.Atoi(p.O.Wait); err == nil {
		c.Create.Wait = p.O.Wait
	}
	if p.O.Wait != "" {
		c.Headers = append(c.Headers, [2]string{"Prefer", "wait=" + p.O.Wait})
	}
	if p.O.Key != "" {
		c.Headers = append(c.Headers, [2]string{"Idempotency-Key", strconv.Quote(p.O.Key)})
	}
	p.Snippets = snippetsOf(v, c)
}

// command is the call in the terminal.
func command(r client.Request, key, wait string) string {
	text := "mesh task run --agent " + r.Agent
	if r.CallbackURL != "" {
		text = "mesh action run --agent " + r.Agent
	}
	attempts := ""
	if r.MaxAttempts != nil {
		attempts = strconv.Itoa(*r.MaxAttempts)
	}
	for _, f := range [][2]string{
		{"input", string(r.Input)}, {"callback-url", r.CallbackURL}, {"delay", r.Delay}, {"timeout", r.Timeout}, {"deadline", r.Deadline}, {"max-attempts", attempts}, {"key", key},
	} {
		if f[1] != "" {
			text += " --" + f[0] + " " + shell(f[1])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		text += " --label " + shell(k+"="+r.Labels[k])
	}
	if wait != "" {
		text += " --wait"
	}
	if r.Instruction != "" {
		text += " " + shell(r.Instruction)
	}
	return text
}

// request is the task as the API takes it.
func (o tryOptions) request(agent string, input json.RawMessage) (r client.Request, err error) {
	r = client.Request{Agent: agent, Instruction: o.Instruction, Input: input, Delay: o.Delay, Timeout: o.Timeout, Deadline: o.Deadline, CallbackURL: o.Callback}
	if string(input) == "null" {
		r.Input = nil
	}
	for line := range strings.Lines(o.Labels) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		k, val, ok := strings.Cut(line, "=")
		if !ok {
			return r, wrong("Each label is a line key=value.")
		}
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[strings.TrimSpace(k)] = strings.TrimSpace(val)
	}
	if o.Attempts != "" {
		n, err := strconv.Atoi(o.Attempts)
		if err != nil {
			return r, wrong("Attempts are a number.")
		}
		r.MaxAttempts = &n
	}
	return r, nil
}

// try takes the form: it runs the task, or shows the form changed.
func try(v *visit) (string, error) {
	a, err := agentOf(v, v.id())
	if err != nil {
		return "", err
	}
	p := &tryPage{Agent: a, View: firstOf(v.form("view"), "form"), O: tryOptions{
		Instruction: v.form("instruction"), Labels: v.form("labels"), Delay: v.form("delay"), Timeout: v.form("timeout"), Deadline: v.form("deadline"),
		Attempts: v.form("attempts"), Callback: v.form("callback"), Wait: v.form("wait"), Key: v.form("key"),
	}}
	input, err := p.read(v)
	op := v.form("op")
	if err == nil && op == "run" {
		return p.run(v, input)
	}
	if op == "run" && err != nil {
		p.Fault, v.status = err.Error(), http.StatusUnprocessableEntity
	}
	p.turn(op, input, err)
	p.describe(v, input)
	v.show(tryScreen.page(v, p))
	return "", nil
}

// read is the input as the open view has it.
func (p *tryPage) read(v *visit) (json.RawMessage, error) {
	if p.View == "json" {
		p.JSON = v.r.PostFormValue("json")
		raw := json.RawMessage(strings.TrimSpace(p.JSON))
		p.Form = formOf(p.Agent.InputSchema, raw, nil)
		if len(raw) == 0 {
			return json.RawMessage("null"), nil
		}
		if !json.Valid(raw) {
			return nil, errors.New("the input is no JSON; a text needs quotes")
		}
		return compact(raw), nil
	}
	p.Form = formOf(p.Agent.InputSchema, nil, v.r.PostForm)
	raw, err := p.Form.collect()
	p.JSON = indented(raw)
	return raw, err
}

// turn changes the view; a value that is none stays where it can be mended.
func (p *tryPage) turn(op string, _ json.RawMessage, fault error) {
	switch {
	case fault != nil && (op == "json" || op == "form"):
		p.Fault = fault.Error()
	case op == "json":
		p.View = "json"
	case op == "form" && p.Form.Kind != "json":
		p.View = "form"
	}
}

// run has the task accepted, and leads to it.
func (p *tryPage) run(v *visit, input json.RawMessage) (string, error) {
	r, err := p.O.request(p.Agent.Name, input)
	o := client.CreateOptions{IdempotencyKey: p.O.Key}
	var t *client.Task
	if err == nil && r.CallbackURL != "" {
		t, err = v.api.Actions.Create(v.ctx(), r, o)
	} else if err == nil {
		t, err = v.api.Tasks.Create(v.ctx(), r, o)
	}
	if to := ""; err == nil {
		if to = "tasks/" + url.PathEscape(t.TaskID); v.r.Header.Get("HX-Request") == "" {
			return to, nil
		}
		v.w.Header().Set("HX-Redirect", v.root()+to) // another page, not a part of this one
		return "", nil
	}
	if p.faults, err = v.faultsOf(err); err != nil {
		return "", err
	}
	p.describe(v, input)
	v.show(tryScreen.page(v, p))
	return "", nil
}
