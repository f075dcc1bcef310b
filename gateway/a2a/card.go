package a2a

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

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
	if d.NoA2A {
		return hidden(d.Name)
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

// hidden is the refusal of an agent that does not speak A2A.
func hidden(name string) error {
	return mesh.Refuse(mesh.ErrAgentNotFound, "There is no agent %q that speaks A2A.", name)
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
		Capabilities:      a2a.AgentCapabilities{Streaming: !f.cfg.NoStream, PushNotifications: !f.cfg.NoPush && f.mesh.Pushes.Offered()},
		DefaultInputModes: []string{mediaText, mediaJSON}, DefaultOutputModes: []string{mediaText, mediaJSON},
		Skills: skillsOf(d, about),
	}
	var schema any
	if len(d.InputSchema) > 0 {
		if err := json.Unmarshal(d.InputSchema, &schema); err != nil {
			return nil, mesh.Refuse(mesh.ErrInternal, "The agent %s has a schema that is no JSON.", d.Name)
		}
		card.DefaultInputModes = []string{mediaJSON, mediaText}
	}
	card.Capabilities.Extensions = f.extensionsOf(schema)
	f.secure(card)
	return card, nil
}

// skillsOf are the skills of an agent: those that it names, or itself.
func skillsOf(d store.Definition, about string) (all []a2a.AgentSkill) {
	for _, s := range d.Skills {
		all = append(all, a2a.AgentSkill{
			ID: s.ID, Name: s.Name, Description: cmp.Or(s.Description, about), Tags: tagsOf(s.Tags, tagsOf(d.Tags, []string{d.Name})), Examples: s.Examples,
			InputModes: s.InputModes, OutputModes: s.OutputModes,
		})
	}
	if all == nil {
		all = []a2a.AgentSkill{{ID: d.Name, Name: d.Name, Description: about, Tags: tagsOf(d.Tags, []string{d.Name}), Examples: d.Examples}}
	}
	return all
}

func tagsOf(tags, otherwise []string) []string {
	if len(tags) == 0 {
		return otherwise
	}
	return tags
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
	for i, issuer := range f.cfg.Issuers {
		name := a2a.SecuritySchemeName("oidc")
		if i > 0 {
			name += a2a.SecuritySchemeName(strconv.Itoa(i + 1))
		}
		card.SecuritySchemes[name] = a2a.OpenIDConnectSecurityScheme{OpenIDConnectURL: strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"}
		card.SecurityRequirements = append(card.SecurityRequirements, map[a2a.SecuritySchemeName]a2a.SecuritySchemeScopes{name: {}})
	}
}
