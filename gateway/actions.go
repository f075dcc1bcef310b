package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentmesh/shared/event"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Receivers is what the gateway asks about those who are told of events: the
// rules that deliveries follow too.
type Receivers interface {
	// CheckURL decides on an address: nil, webhook.ErrURL or webhook.ErrBlocked.
	CheckURL(url string) error
	// CheckIdentity says what is wrong with a client certificate, its key and a
	// certificate authority, in PEM.
	CheckIdentity(certificate, key, ca string) error
	// NewKey makes a signing key or reads the one in text, else webhook.ErrKey.
	NewKey(scheme webhook.Scheme, text string) (private, public string, err error)
	// PublicKey reads the text form of a public key.
	PublicKey(text string) ([]byte, error)
	// CallbackPublicKeys are those of callbacks that name no webhook's.
	CallbackPublicKeys(tenant string) ([]string, error)
	// Seal puts secrets into an endpoint, Open reads them.
	Seal(*webhook.Endpoint, webhook.Secrets) error
	Open(*webhook.Endpoint) (webhook.Secrets, error)
}

// AcceptedAction is the body of the 202 of an action.
type AcceptedAction struct {
	ActionID    string     `json:"action_id"`
	Status      task.State `json:"status" enum:"initiated"`
	Message     string     `json:"message"`
	StatusURL   string     `json:"status_url"`
	Agent       string     `json:"agent"`
	CreatedAt   time.Time  `json:"created_at"`
	RetriedFrom string     `json:"retried_from,omitempty"`
	TraceID     string     `json:"trace_id,omitempty"`
	TraceURL    string     `json:"trace_url,omitempty"`
	Warning     string     `json:"warning,omitempty" doc:"What the client should know, such as that nobody has served the agent for a day."`
}

const actionMessage = "Processing your request. We'll notify you at the provided callback URL."

// wire is the answer as the client of a task or an action gets it.
func (a Accepted) wire() any {
	if !strings.HasPrefix(a.TaskID, task.PrefixAction) {
		return a
	}
	return AcceptedAction{
		ActionID: a.TaskID, Status: initiated, Message: actionMessage, StatusURL: a.StatusURL, Agent: a.Agent,
		CreatedAt: a.CreatedAt, RetriedFrom: a.RetriedFrom, TraceID: a.TraceID, TraceURL: a.TraceURL, Warning: a.Warning,
	}
}

// createAction is POST /actions.
func (g *Gateway) createAction(w http.ResponseWriter, r *http.Request) error {
	return g.create(w, r, task.KindAction)
}

// ofAction makes a handler of a task one of an action.
func (g *Gateway) ofAction(f func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		if !strings.HasPrefix(id, task.PrefixAction) || !task.ValidID(id) {
			return mesh.Refuse(mesh.ErrActionNotFound, "%q is not the id of an action.", mesh.Clip(id, 64))
		}
		err := f(w, r)
		if errors.Is(err, task.ErrNotFound) {
			return mesh.Refuse(mesh.ErrActionNotFound, "No action with this id is known, or it is past its retention of 7 days.")
		}
		return err
	}
}

// maxCallbackEvents bounds the list of types in a request.
const maxCallbackEvents = 32

// callbackOf reads the callback of a request; nil when it has none. Faults of
// its fields go to faults; an address that the policy forbids is blocked.
func (g *Gateway) callbackOf(ctx context.Context, req *CreateTask, kind task.Kind, faults *[]mesh.Invalid) (c *task.Callback, blocked, err error) {
	fault := func(pointer, detail string) { *faults = append(*faults, mesh.Field(detail, pointer)) }
	if req.CallbackURL == "" {
		if kind == task.KindAction {
			fault("/callback_url", "an action needs one; without a callback it is a task: POST /tasks")
		}
		if len(req.CallbackEvents) > 0 {
			fault("/callback_events", "they need a callback_url")
		}
		if req.CallbackSecretRef != "" {
			fault("/callback_secret_ref", "it needs a callback_url")
		}
		return nil, nil, nil
	}
	if g.cfg.Receivers == nil {
		return nil, nil, mesh.Refuse(mesh.ErrCallbacksOff, "Send the request to a gateway that takes callbacks.")
	}
	blocked = g.checkURL(req.CallbackURL, "/callback_url", faults)
	c = &task.Callback{URL: req.CallbackURL, SecretRef: req.CallbackSecretRef}
	c.Events = eventTypes(req.CallbackEvents, string(kind), "/callback_events", faults)
	if c.SecretRef != "" {
		_, err := g.webhookOf(ctx, c.SecretRef)
		if errors.Is(err, webhook.ErrNotFound) {
			fault("/callback_secret_ref", "there is no such webhook; POST /webhooks makes one, and its id is the reference")
		} else if err != nil {
			return nil, nil, err
		}
	}
	return c, blocked, nil
}

// checkURL has the policy decide on an address: a fault of its form goes to
// faults, one that is blocked is returned.
func (g *Gateway) checkURL(url, pointer string, faults *[]mesh.Invalid) (blocked error) {
	err := g.cfg.Receivers.CheckURL(url)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, webhook.ErrBlocked):
		p := mesh.Refuse(mesh.ErrCallbackBlocked, "%s leads to a private or special address, or back to this mesh, where it sends nothing. "+
			"Use a public https address, or have the operator allow the network with --allow-private-callbacks.", strings.TrimPrefix(pointer, "/"))
		p.Faults = []mesh.Invalid{mesh.Field("the address is blocked", pointer)}
		return p
	}
	*faults = append(*faults, mesh.Field(err.Error(), pointer))
	return nil
}

// eventTypes reads types of events. The kind may be left out before the dot.
func eventTypes(names []string, kind, pointer string, faults *[]mesh.Invalid) (types []string) {
	if len(names) > maxCallbackEvents {
		*faults = append(*faults, mesh.Field("there are more than "+strconv.Itoa(maxCallbackEvents), pointer))
		return nil
	}
	for i, name := range names {
		full := name
		if kind != "" && !strings.Contains(name, ".") {
			full = kind + "." + name
		}
		if !event.Type(full).Valid() || kind != "" && !strings.HasPrefix(full, kind+".") {
			var allowed []string
			for _, t := range event.Types() {
				if kind == "" || strings.HasPrefix(string(t), kind+".") {
					allowed = append(allowed, string(t))
				}
			}
			*faults = append(*faults, mesh.Field("it is "+strconv.Quote(mesh.Clip(name, 64))+", allowed are "+strings.Join(allowed, ", "), pointer+"/"+strconv.Itoa(i)))
			continue
		}
		types = append(types, full)
	}
	return types
}
