package mesh

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentmesh/shared/egress"
	"agentmesh/shared/event"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// WebhookSettings are the settings of a new webhook, or a change of them: a nil
// field stays as it is.
type WebhookSettings struct {
	URL               *string            // where events are sent
	Description       *string            // for people
	Events            *[]string          // types of events; milestones and outcomes when empty
	Agents            *[]string          // only of these; all when empty
	Headers           *map[string]string // sent with each delivery, kept sealed
	ClientCertificate *string            // PEM, shown to the receiver
	ClientKey         *string            // PEM, kept sealed
	CA                *string            // PEM, trusted instead of the system's
	Enabled           *bool              // while it is false events are parked
	Scheme            webhook.Scheme     // of a new webhook's key; v1 when empty
	Secret            string             // of a new webhook: its owner's key; empty: one is made
}

// Limits of a webhook.
const (
	maxWebhookHeaders = 20
	maxWebhookAgents  = 100
	maxHeaderValue    = 4 << 10
	maxDescription    = 1 << 10
	maxPEM            = 64 << 10
)

// apply puts settings into an endpoint and its secrets, or refuses all of them.
// faults are those that were found before.
func (c Webhooks) apply(e *webhook.Endpoint, secrets *webhook.Secrets, s *WebhookSettings, faults []Invalid) error {
	var blocked error
	if s.URL != nil {
		blocked = checkURL(c.guard, *s.URL, "/url", &faults)
		faults = append(faults, setURL(e, secrets, *s.URL)...)
	}
	if s.Description != nil {
		if e.Description = *s.Description; len(e.Description) > maxDescription {
			faults = append(faults, Field("it has more than "+strconv.Itoa(maxDescription)+" bytes", "/description"))
		}
	}
	if s.Events != nil {
		e.Events = nil
		for _, name := range eventTypes(*s.Events, "", "/events", &faults) {
			e.Events = append(e.Events, event.Type(name))
		}
	}
	if s.Agents != nil {
		e.Agents = *s.Agents
		faults = append(faults, agentFaults(e.Agents)...)
	}
	if s.Headers != nil {
		secrets.Headers, e.Headers = *s.Headers, slices.Sorted(maps.Keys(*s.Headers))
		faults = append(faults, headerFaults(secrets.Headers)...)
	}
	faults = append(faults, s.identify(e, secrets)...)
	if s.Enabled != nil {
		enable(e, *s.Enabled)
	}
	if len(faults) > 0 {
		return RefuseFields(faults...)
	}
	return blocked
}

// setURL puts a URL into an endpoint as it may be shown, and the rest of it into
// the secrets. The shown one, sent back, changes nothing.
func setURL(e *webhook.Endpoint, secrets *webhook.Secrets, url string) []Invalid {
	if e.URLSealed && url == e.URL {
		return nil
	}
	secrets.URL = ""
	if e.URL, e.URLSealed = webhook.ShownURL(url); e.URLSealed {
		secrets.URL = url
	}
	if webhook.HidesSecret(url) {
		return []Invalid{Field(hiddenURL, "/url")}
	}
	return nil
}

func enable(e *webhook.Endpoint, on bool) {
	switch {
	case on:
		e.Disabled = nil
	case e.Disabled == nil:
		e.Disabled = &webhook.Disabled{Reason: "disabled through the API", At: task.Stamp(time.Now())}
	}
}

func agentFaults(names []string) (faults []Invalid) {
	if len(names) > maxWebhookAgents {
		return []Invalid{Field("there are more than "+strconv.Itoa(maxWebhookAgents), "/agents")}
	}
	for i, name := range names {
		if !task.ValidAgent(name) {
			faults = append(faults, Field("agent names match [a-z0-9-]{1,40}", "/agents/"+strconv.Itoa(i)))
		}
	}
	return faults
}

// identify sets who the mesh is to the receiver, and whom it trusts.
func (s *WebhookSettings) identify(e *webhook.Endpoint, secrets *webhook.Secrets) []Invalid {
	if s.ClientCertificate == nil && s.ClientKey == nil && s.CA == nil {
		return nil
	}
	set(&e.Certificate, s.ClientCertificate)
	set(&secrets.ClientKey, s.ClientKey)
	set(&e.CA, s.CA)
	if max(len(e.Certificate), len(secrets.ClientKey), len(e.CA)) > maxPEM {
		return []Invalid{Field("certificates and keys have at most "+strconv.Itoa(maxPEM)+" bytes each", "/client_certificate")}
	}
	if err := (egress.Identity{Certificate: e.Certificate, Key: secrets.ClientKey, CA: e.CA}).Check(); err != nil {
		return []Invalid{Field(err.Error(), "/client_certificate")}
	}
	return nil
}

func set(field, value *string) {
	if value != nil {
		*field = *value
	}
}

// forbiddenHeaders are set by the mesh, or by the connection.
var forbiddenHeaders = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade",
	"Expect", "Accept-Encoding", "User-Agent", "Traceparent", "Tracestate", webhook.DepthHeader,
}

func headerFaults(headers map[string]string) (faults []Invalid) {
	if len(headers) > maxWebhookHeaders {
		return []Invalid{Field(fmt.Sprintf("there are %d, allowed are %d", len(headers), maxWebhookHeaders), "/headers")}
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		twice := seen[canonical]
		seen[canonical] = true
		pointer := "/headers/" + Pointer(Clip(name, 64))
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			faults = append(faults, Field("it is no name of a header", pointer))
		case twice:
			faults = append(faults, Field("it is there twice: the case of a name does not count", pointer))
		case slices.Contains(forbiddenHeaders, canonical), strings.HasPrefix(canonical, "Webhook-"), strings.HasPrefix(canonical, "Proxy-"):
			faults = append(faults, Field("this header is set by the mesh", pointer))
		case len(headers[name]) > maxHeaderValue || !httpguts.ValidHeaderFieldValue(headers[name]):
			faults = append(faults, Field("its value is over "+strconv.Itoa(maxHeaderValue)+" bytes or has control characters", pointer))
		}
	}
	return faults
}
