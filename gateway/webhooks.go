package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http/httpguts"

	"agentmesh/shared/egress"
	"agentmesh/shared/event"
	"agentmesh/shared/keyring"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// WebhookRequest is the body of POST and PATCH /webhooks. A member that a PATCH
// leaves out stays as it is.
type WebhookRequest struct {
	URL               *string            `json:"url,omitempty" format:"uri" doc:"Where events are POSTed."`
	Description       *string            `json:"description,omitempty" maxLength:"1024"`
	Events            *[]string          `json:"events,omitempty" doc:"Types of events; milestones and outcomes when empty."`
	Agents            *[]string          `json:"agents,omitempty" doc:"Only of these agents; all when empty."`
	Headers           *map[string]string `json:"headers,omitempty" doc:"Up to 20, sent with each delivery; kept sealed. A PATCH replaces all of them."`
	ClientCertificate *string            `json:"client_certificate,omitempty" doc:"PEM: shown to the receiver (mutual TLS). Needs client_key."`
	ClientKey         *string            `json:"client_key,omitempty" doc:"PEM; kept sealed."`
	CA                *string            `json:"ca,omitempty" doc:"PEM: the certificate authority of the receiver, instead of the system's."`
	Enabled           *bool              `json:"enabled,omitempty" doc:"While it is false events are parked."`
	Scheme            webhook.Scheme     `json:"scheme,omitempty" enum:"v1,v1a" doc:"POST: how deliveries are signed, v1 (HMAC-SHA256, default) or v1a (ed25519)."`
	Secret            string             `json:"secret,omitempty" doc:"POST: a key of your own, whsec_... for v1, whsk_... for v1a; a new one is made when left out."`
}

// RotateRequest is the body of POST /webhooks/{id}/rotate-secret; it may be left
// out.
type RotateRequest struct {
	Scheme  webhook.Scheme `json:"scheme,omitempty" enum:"v1,v1a" doc:"Of the new key; that of the present one when left out."`
	Secret  string         `json:"secret,omitempty" doc:"A key of your own."`
	Overlap string         `json:"overlap,omitempty" example:"24h" doc:"How long the old keys go on signing beside the new one: 0s to 720h, 24h when left out."`
}

// Webhook is a webhook as clients see it.
type Webhook struct {
	WebhookID         string        `json:"webhook_id"`
	URL               string        `json:"url"`
	Description       string        `json:"description,omitempty"`
	Events            []event.Type  `json:"events" doc:"Empty: milestones and outcomes."`
	Agents            []string      `json:"agents" doc:"Empty: all."`
	Enabled           bool          `json:"enabled"`
	DisabledReason    string        `json:"disabled_reason,omitempty"`
	DisabledAt        *time.Time    `json:"disabled_at,omitempty"`
	Unreadable        string        `json:"unreadable,omitempty" doc:"Its secrets cannot be opened, so nothing is sent to it; and what to do."`
	Headers           []string      `json:"headers,omitempty" doc:"Their names; the values are secret."`
	ClientCertificate string        `json:"client_certificate,omitempty"`
	CA                string        `json:"ca,omitempty"`
	Keys              []webhook.Key `json:"keys" doc:"The current one first; all that have not expired sign."`
	Secret            string        `json:"secret,omitempty" doc:"Shown once, when the key is made: the shared secret of v1. Of v1a the public_key is all that receivers need."`
	CreatedAt         time.Time     `json:"created_at"`
	UpdatedAt         time.Time     `json:"updated_at"`
}

// WebhookList is the answer of GET /webhooks.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}

// Limits of webhooks.
const (
	maxWebhooks       = 1000
	maxWebhookHeaders = 20
	maxHeaderValue    = 4 << 10
	maxDescription    = 1 << 10
	maxPEM            = 64 << 10
	maxKeys           = 10
	defaultOverlap    = 24 * time.Hour
	maxOverlap        = 30 * 24 * time.Hour
)

func (g *Gateway) webhookView(e *webhook.Endpoint, secret string) Webhook {
	v := Webhook{
		WebhookID: e.ID, URL: e.URL, Description: e.Description, Events: e.Events, Agents: e.Agents, Enabled: e.Disabled == nil,
		Headers: e.Headers, ClientCertificate: e.Certificate, CA: e.CA, Secret: secret, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		Keys: []webhook.Key{},
	}
	for _, k := range e.Keys {
		if !k.Expired(time.Now()) {
			v.Keys = append(v.Keys, k)
		}
	}
	if v.Events == nil {
		v.Events = []event.Type{}
	}
	if v.Agents == nil {
		v.Agents = []string{}
	}
	if e.Disabled != nil {
		v.DisabledReason, v.DisabledAt = e.Disabled.Reason, at(e.Disabled.At)
	}
	if g.cfg.Guard != nil {
		if _, err := g.cfg.Keys.Open(e); err != nil {
			v.Unreadable = err.Error()
		}
	}
	return v
}

// webhookOf reads a webhook by an id that a client sent.
func (g *Gateway) webhookOf(ctx context.Context, id string) (*webhook.Endpoint, error) {
	if !task.ValidWebhookID(id) {
		return nil, webhook.ErrNotFound
	}
	return g.store.Webhook(ctx, tenant, id)
}

// createWebhook is POST /webhooks.
func (g *Gateway) createWebhook(w http.ResponseWriter, r *http.Request) error {
	if g.cfg.Guard == nil {
		return mesh.Refuse(mesh.ErrCallbacksOff, "Send the request to a gateway that takes callbacks.")
	}
	var req WebhookRequest
	if err := g.readInto(w, r, &req); err != nil {
		return err
	}
	now := task.Stamp(time.Now())
	e := &webhook.Endpoint{ID: task.NewID(task.PrefixWebhook, uuid.Must(uuid.NewV7())), Tenant: tenant, CreatedAt: now, UpdatedAt: now}
	secrets := webhook.Secrets{Keys: map[string]string{}}
	var faults []mesh.Invalid
	if req.URL == nil {
		faults = append(faults, mesh.Field("a webhook needs one", "/url"))
	}
	scheme := req.Scheme
	if scheme == "" {
		scheme = webhook.V1
	}
	shown, fault := g.addKey(e, &secrets, scheme, req.Secret, now)
	faults = append(faults, fault...)
	if err := g.applyWebhook(e, &secrets, &req, faults); err != nil {
		return err
	}
	if err := g.cfg.Keys.Seal(e, secrets); err != nil {
		return err
	}
	select { // one after the other: they would only be in each other's way
	case g.adding <- struct{}{}:
		defer func() { <-g.adding }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	switch err := g.store.AddWebhook(context.WithoutCancel(r.Context()), e, maxWebhooks); {
	case errors.Is(err, webhook.ErrTooMany):
		return mesh.Refuse(mesh.ErrTooManyWebhooks, "There are %d, which is the limit. Delete one that is not needed.", maxWebhooks)
	case errors.Is(err, task.ErrConflict):
		return mesh.Refuse(mesh.ErrConflict, "Webhooks are being changed by others. Try again.")
	case err != nil:
		return err
	}
	w.Header().Set("Location", "/webhooks/"+e.ID)
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusCreated, g.webhookView(e, shown))
}

// addKey puts a new key in front of an endpoint's keys and returns what is shown
// of it this once.
func (g *Gateway) addKey(e *webhook.Endpoint, s *webhook.Secrets, scheme webhook.Scheme, own string, now time.Time) (shown string, faults []mesh.Invalid) {
	private, public, err := keyring.NewKey(scheme, own)
	if err != nil {
		pointer := "/secret"
		if scheme != webhook.V1 && scheme != webhook.V1a {
			pointer = "/scheme"
		}
		return "", []mesh.Invalid{mesh.Field(err.Error(), pointer)}
	}
	k := webhook.Key{ID: task.NewID(task.PrefixKey, uuid.Must(uuid.NewV7())), Scheme: scheme, Public: public, CreatedAt: now}
	e.Keys = append([]webhook.Key{k}, e.Keys...)
	s.Keys[k.ID] = private
	if scheme == webhook.V1 {
		shown = private
	}
	return shown, nil
}

// applyWebhook puts the fields of a request into an endpoint, or refuses all of
// it.
func (g *Gateway) applyWebhook(e *webhook.Endpoint, s *webhook.Secrets, req *WebhookRequest, faults []mesh.Invalid) error {
	fault := func(pointer, detail string) { faults = append(faults, mesh.Field(detail, pointer)) }
	var blocked error
	if req.URL != nil {
		e.URL = *req.URL
		blocked = mesh.CheckURL(g.cfg.Guard, e.URL, "/url", &faults)
	}
	if req.Description != nil {
		if e.Description = *req.Description; len(e.Description) > maxDescription {
			fault("/description", "it has more than "+strconv.Itoa(maxDescription)+" bytes")
		}
	}
	if req.Events != nil {
		e.Events = nil
		for _, name := range mesh.EventTypes(*req.Events, "", "/events", &faults) {
			e.Events = append(e.Events, event.Type(name))
		}
	}
	if req.Agents != nil {
		if e.Agents = *req.Agents; len(e.Agents) > 100 {
			fault("/agents", "there are more than 100")
		}
		for i, name := range e.Agents {
			if !task.ValidAgent(name) {
				fault("/agents/"+strconv.Itoa(i), "agent names match [a-z0-9-]{1,40}")
			}
		}
	}
	if req.Headers != nil {
		s.Headers, e.Headers = *req.Headers, slices.Sorted(maps.Keys(*req.Headers))
		faults = append(faults, headerFaults(s.Headers)...)
	}
	if req.ClientCertificate != nil || req.ClientKey != nil || req.CA != nil {
		set(&e.Certificate, req.ClientCertificate)
		set(&s.ClientKey, req.ClientKey)
		set(&e.CA, req.CA)
		if len(e.Certificate) > maxPEM || len(s.ClientKey) > maxPEM || len(e.CA) > maxPEM {
			fault("/client_certificate", "certificates and keys have at most "+strconv.Itoa(maxPEM)+" bytes each")
		} else if err := (egress.Identity{Certificate: e.Certificate, Key: s.ClientKey, CA: e.CA}).Check(); err != nil {
			fault("/client_certificate", err.Error())
		}
	}
	if req.Enabled != nil {
		switch {
		case *req.Enabled:
			e.Disabled = nil
		case e.Disabled == nil:
			e.Disabled = &webhook.Disabled{Reason: "disabled through the API", At: task.Stamp(time.Now())}
		}
	}
	if len(faults) > 0 {
		return mesh.RefuseFields(faults...)
	}
	return blocked
}

func set(field, value *string) {
	if value != nil {
		*field = *value
	}
}

// forbiddenHeaders are set by us, or by the connection.
var forbiddenHeaders = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade",
	"Expect", "Accept-Encoding", "User-Agent", "Traceparent", "Tracestate", webhook.DepthHeader,
}

func headerFaults(headers map[string]string) (faults []mesh.Invalid) {
	if len(headers) > maxWebhookHeaders {
		return []mesh.Invalid{mesh.Field(fmt.Sprintf("there are %d, allowed are %d", len(headers), maxWebhookHeaders), "/headers")}
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		twice := seen[canonical]
		seen[canonical] = true
		pointer := "/headers/" + mesh.Pointer(mesh.Clip(name, 64))
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			faults = append(faults, mesh.Field("it is no name of a header", pointer))
		case twice:
			faults = append(faults, mesh.Field("it is there twice: the case of a name does not count", pointer))
		case slices.Contains(forbiddenHeaders, canonical), strings.HasPrefix(canonical, "Webhook-"), strings.HasPrefix(canonical, "Proxy-"):
			faults = append(faults, mesh.Field("this header is set by the mesh", pointer))
		case len(headers[name]) > maxHeaderValue || !httpguts.ValidHeaderFieldValue(headers[name]):
			faults = append(faults, mesh.Field("its value is over "+strconv.Itoa(maxHeaderValue)+" bytes or has control characters", pointer))
		}
	}
	return faults
}

// listWebhooks is GET /webhooks.
func (g *Gateway) listWebhooks(w http.ResponseWriter, r *http.Request) error {
	all, err := g.store.Webhooks(r.Context(), tenant)
	if err != nil {
		return err
	}
	list := WebhookList{Webhooks: make([]Webhook, 0, len(all))}
	for _, e := range all {
		list.Webhooks = append(list.Webhooks, g.webhookView(e, ""))
	}
	return writeJSON(w, http.StatusOK, list)
}

// getWebhook is GET /webhooks/{id}.
func (g *Gateway) getWebhook(w http.ResponseWriter, r *http.Request) error {
	e, err := g.webhookOf(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g.webhookView(e, ""))
}

// updateWebhook is PATCH /webhooks/{id}.
func (g *Gateway) updateWebhook(w http.ResponseWriter, r *http.Request) error {
	var req WebhookRequest
	if err := g.readInto(w, r, &req); err != nil {
		return err
	}
	if req.Secret != "" || req.Scheme != "" {
		return mesh.RefuseFields(mesh.Field("keys change with POST /webhooks/{id}/rotate-secret", "/secret"))
	}
	e, err := g.changeWebhook(r.Context(), r.PathValue("id"), func(e *webhook.Endpoint, s *webhook.Secrets) error {
		return g.applyWebhook(e, s, &req, nil)
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g.webhookView(e, ""))
}

// changeWebhook changes a webhook and its secrets by compare-and-set.
func (g *Gateway) changeWebhook(ctx context.Context, id string, change func(*webhook.Endpoint, *webhook.Secrets) error) (*webhook.Endpoint, error) {
	if g.cfg.Guard == nil {
		return nil, mesh.Refuse(mesh.ErrCallbacksOff, "Send the request to a gateway that takes callbacks.")
	}
	ctx = context.WithoutCancel(ctx)
	for range 5 {
		e, err := g.webhookOf(ctx, id)
		if err != nil {
			return nil, err
		}
		secrets, lost := g.cfg.Keys.Open(e)
		if lost != nil && !errors.Is(lost, webhook.ErrUnreadable) {
			return nil, lost
		}
		before := sealable(secrets)
		if err := change(e, &secrets); err != nil {
			return nil, err
		}
		e.UpdatedAt = task.Stamp(time.Now())
		// A secret that cannot be opened stays as it is until it is replaced: its
		// key may be found again.
		if now := sealable(secrets); lost == nil || !bytes.Equal(before, now) {
			if len(secrets.Keys) == 0 {
				return nil, mesh.Refuse(mesh.ErrWebhookUnreadable, "The secrets of the webhook cannot be opened. Give it a new one first: POST /webhooks/%s/rotate-secret; then set its headers and certificate again.", e.ID)
			}
			if err := g.cfg.Keys.Seal(e, secrets); err != nil {
				return nil, err
			}
		}
		if err = g.store.SaveWebhook(ctx, e); !errors.Is(err, task.ErrConflict) {
			return e, err
		}
	}
	return nil, mesh.Refuse(mesh.ErrConflict, "The webhook is being changed by others. Try again.")
}

// sealable is a form of secrets that two can be compared by.
func sealable(s webhook.Secrets) []byte {
	raw, _ := json.Marshal(s) // maps in the order of their keys
	return raw
}

// rotateSecret is POST /webhooks/{id}/rotate-secret: a new key that signs from
// now on, and the old ones for a while beside it.
func (g *Gateway) rotateSecret(w http.ResponseWriter, r *http.Request) error {
	var req RotateRequest
	if err := g.readOptional(w, r, &req); err != nil {
		return err
	}
	overlap := defaultOverlap
	if req.Overlap != "" {
		d, err := time.ParseDuration(req.Overlap)
		if err != nil || d < 0 || d > maxOverlap {
			return mesh.RefuseFields(mesh.Field(`it must be a duration such as "24h", 0s to 720h`, "/overlap"))
		}
		overlap = d
	}
	var shown string
	e, err := g.changeWebhook(r.Context(), r.PathValue("id"), func(e *webhook.Endpoint, s *webhook.Secrets) error {
		now := task.Stamp(time.Now())
		scheme := req.Scheme
		if scheme == "" {
			scheme = e.Keys[0].Scheme
		}
		end := now.Add(overlap)
		for i, k := range e.Keys {
			if k.ExpiresAt.IsZero() || k.ExpiresAt.After(end) {
				e.Keys[i].ExpiresAt = end
			}
		}
		var faults []mesh.Invalid
		if shown, faults = g.addKey(e, s, scheme, req.Secret, now); len(faults) > 0 {
			return mesh.RefuseFields(faults...)
		}
		e.Keys = slices.DeleteFunc(e.Keys, func(k webhook.Key) bool { return k.Expired(now) || s.Keys[k.ID] == "" })
		e.Keys = e.Keys[:min(len(e.Keys), maxKeys)]
		maps.DeleteFunc(s.Keys, func(id, _ string) bool {
			return !slices.ContainsFunc(e.Keys, func(k webhook.Key) bool { return k.ID == id })
		})
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, g.webhookView(e, shown))
}

// deleteWebhook is DELETE /webhooks/{id}. A delivery on its way to it is canceled
// when it comes due.
func (g *Gateway) deleteWebhook(w http.ResponseWriter, r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
	for range 5 {
		e, err := g.webhookOf(ctx, r.PathValue("id"))
		if err != nil {
			return err
		}
		if err = g.store.DeleteWebhook(ctx, e); errors.Is(err, task.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return mesh.Refuse(mesh.ErrConflict, "The webhook is being changed by others. Try again.")
}
