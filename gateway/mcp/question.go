package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// inputResponse is what a person said to a question.
type inputResponse struct {
	Action  string          `json:"action"`
	Content json.RawMessage `json:"content"`
}

// questionKey names a question for the life of its task.
func questionKey(w task.Wait) string { return fmt.Sprintf("%s-%d", w.Name, w.N) }

// inputRequests are the open questions of a task as forms.
func inputRequests(t *task.Task, key func(task.Wait) string) sdk.InputRequestMap {
	all := sdk.InputRequestMap{}
	for _, w := range t.Questions() {
		all[key(w)] = &sdk.ElicitParams{Mode: "form", Message: w.Prompt, RequestedSchema: form(w.Schema)}
	}
	return all
}

// anyAnswer is the form of a question whose schema is no flat object.
var anyAnswer = json.RawMessage(`{"type":"object","properties":{"answer":{"type":"string","description":"Text, or JSON."}},"required":["answer"]}`)

func form(schema json.RawMessage) json.RawMessage {
	if flat(schema) {
		return schema
	}
	return anyAnswer
}

// flat says whether a schema is one that a form can ask for: an object of texts,
// numbers, booleans and choices.
func flat(schema json.RawMessage) bool {
	var s struct {
		Type       string `json:"type"`
		Properties map[string]struct {
			Type  any `json:"type"`
			Items struct {
				Type string            `json:"type"`
				Enum []json.RawMessage `json:"enum"`
			} `json:"items"`
		} `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil || s.Type != "object" || len(s.Properties) == 0 {
		return false
	}
	for _, p := range s.Properties {
		switch p.Type {
		case "string", "number", "integer", "boolean":
		case "array":
			if p.Items.Type != "string" || len(p.Items.Enum) == 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// value is the answer that a response means. A response that is no acceptance is
// handed to the agent as such.
func (r inputResponse) value(w task.Wait) (json.RawMessage, error) {
	switch r.Action {
	case "accept":
	case "decline", "cancel":
		return json.RawMessage(`{"action":"decline"}`), nil
	default:
		return nil, invalid("The action of an input response must be accept, decline or cancel.")
	}
	if flat(w.Schema) {
		if len(r.Content) == 0 {
			return json.RawMessage("{}"), nil
		}
		return r.Content, nil
	}
	var in struct {
		Answer *string `json:"answer"`
	}
	if json.Unmarshal(r.Content, &in) != nil || in.Answer == nil {
		return nil, invalid("The content must have answer, a text.")
	}
	if json.Valid([]byte(*in.Answer)) && len(w.Schema) > 0 {
		return json.RawMessage(*in.Answer), nil
	}
	return json.Marshal(*in.Answer)
}

// respond gives a task the answers to its open questions. Those to others are left
// out: they were answered before, or never asked.
func (e *endpoint) respond(ctx context.Context, a *asked, t *task.Task) error {
	for _, w := range t.Questions() {
		r, ok := a.params.InputResponses[questionKey(w)]
		if !ok && a.method == "tools/call" {
			r, ok = a.params.InputResponses[w.Name]
		}
		if !ok {
			continue
		}
		v, err := r.value(w)
		if err != nil {
			return err
		}
		_, err = e.Mesh.Tasks.Answer(ctx, a.Caller, t.ID, mesh.AnswerRequest{Name: w.Name, Value: v})
		if err != nil && !errors.Is(err, mesh.ErrAlreadyAnswered) && !errors.Is(err, mesh.ErrTaskFinished) { // somebody else was first
			return err
		}
	}
	return nil
}

// stateLasts is how long a client may take for the answer to a question.
const stateLasts = time.Hour

// state is what a client carries from a question to its answer, sealed.
type state struct {
	Subject   string    `json:"subject"`
	Task      task.ID   `json:"task"`
	Tool      string    `json:"tool"`
	Arguments string    `json:"arguments"` // a hash
	Until     time.Time `json:"until"`
}

func (a *asked) state(id task.ID) state {
	sum := sha256.Sum256([]byte(mesh.Canonical(a.params.Arguments)))
	return state{Subject: a.Caller.Subject + "\x00" + a.Caller.KeyID, Task: id, Tool: a.params.Name, Arguments: hex.EncodeToString(sum[:])}
}

// ask is the answer to a call whose agent asks a question.
func (e calls) ask(a *asked, t *task.Task) (*sdk.CallToolResult, error) {
	if !a.elicits() {
		return nil, lacking("The agent asks a question, and the client did not declare elicitation. The task "+string(t.ID)+" stays open: answer it with POST /tasks/{id}/input.", `{"elicitation":{}}`)
	}
	s := a.state(t.ID)
	s.Until = time.Now().Add(stateLasts)
	b, err := json.Marshal(s)
	if err != nil {
		return nil, failed(err)
	}
	return &sdk.CallToolResult{InputRequests: inputRequests(t, func(w task.Wait) string { return w.Name }), RequestState: base64.RawURLEncoding.EncodeToString(e.Keys.SealState(a.Caller.Tenant, b))}, nil
}

// resume gives the answers of a repeated call to the task that asked. What a client
// carried is believed as far as it verifies and is of this caller and this call.
func (e calls) resume(ctx context.Context, a *asked) (task.ID, error) {
	foreign := invalid("The requestState is not one of this call, or its hour is over. Call the tool again without it.")
	sealed, err := base64.RawURLEncoding.DecodeString(a.params.RequestState)
	if err != nil {
		return "", foreign
	}
	opened, err := e.Keys.OpenState(a.Caller.Tenant, sealed)
	if err != nil {
		return "", foreign
	}
	var s state
	if json.Unmarshal(opened, &s) != nil {
		return "", foreign
	}
	want := a.state(s.Task)
	if want.Until = s.Until; s != want || time.Now().After(s.Until) {
		return "", foreign
	}
	t, err := e.find(ctx, a, s.Task)
	if err != nil {
		return "", err
	}
	return t.ID, e.respond(context.WithoutCancel(ctx), a, t)
}
