package a2a

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// SchemaExtension is the extension of a card that has the schema of the agent's
// input.
const SchemaExtension = "urn:agentmesh:input-schema:1"

// The media types that are taken and given.
const (
	mediaText = "text/plain"
	mediaJSON = "application/json"
	mediaA2A  = "application/a2a+json"
)

// Card answers with the card of an agent, with the default agent's where name is
// empty. It is public.
func (f *Face) Card(w http.ResponseWriter, r *http.Request, name string) error {
	d, err := f.mesh.Agents.Definition(r.Context(), auth.Of(r.Context()), name)
	if err != nil {
		return err
	}
	card, err := f.cardOf(d.Definition)
	if err != nil {
		return err
	}
	b, err := task.Marshal(card)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("ETag", tag)
	h.Set("Last-Modified", f.began.Format(http.TimeFormat))
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", mediaJSON)
	_, _ = w.Write(b)
	return nil
}

// cardOf makes the card of an agent from its definition.
func (f *Face) cardOf(d store.Definition) (*a2a.AgentCard, error) {
	base := f.cfg.Base() + "/agents/" + d.Name + "/a2a/"
	about := d.Description
	if about == "" {
		about = "The agent " + d.Name + "."
	}
	version := d.Version
	if version == "" {
		version = "0.0.0"
	}
	card := &a2a.AgentCard{
		Name: d.Name, Description: about, Version: version,
		SupportedInterfaces: []*a2a.AgentInterface{
			a2a.NewAgentInterface(base+"rpc", a2a.TransportProtocolJSONRPC),
			a2a.NewAgentInterface(base+"v1", a2a.TransportProtocolHTTPJSON),
		},
		Capabilities:      a2a.AgentCapabilities{Streaming: true, PushNotifications: !f.cfg.NoPush && f.mesh.Pushes.Offered()},
		DefaultInputModes: []string{mediaText, mediaJSON}, DefaultOutputModes: []string{mediaText, mediaJSON},
		Skills: []a2a.AgentSkill{{ID: d.Name, Name: d.Name, Description: about, Tags: []string{d.Name}}},
	}
	if len(d.InputSchema) > 0 {
		var schema any
		if err := json.Unmarshal(d.InputSchema, &schema); err != nil {
			return nil, mesh.Refuse(mesh.ErrInternal, "The agent %s has a schema that is no JSON.", d.Name)
		}
		card.DefaultInputModes = []string{mediaJSON, mediaText}
		card.Capabilities.Extensions = []a2a.AgentExtension{{
			URI: SchemaExtension, Description: "The JSON Schema of the data part of a message.", Params: map[string]any{"schema": schema},
		}}
	}
	f.secure(card)
	return card, nil
}

// secure says on a card what a caller must show.
func (f *Face) secure(card *a2a.AgentCard) {
	name, scheme := a2a.SecuritySchemeName("bearer"), a2a.SecurityScheme(a2a.HTTPAuthSecurityScheme{Scheme: "Bearer"})
	switch f.cfg.Auth {
	case "off":
		return
	case "certs":
		name, scheme = "mtls", a2a.MutualTLSSecurityScheme{}
	}
	card.SecuritySchemes = a2a.NamedSecuritySchemes{name: scheme}
	card.SecurityRequirements = a2a.SecurityRequirementsOptions{{name: {}}}
}
