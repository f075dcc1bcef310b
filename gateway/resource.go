package gateway

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// wellKnownResource is where a client of MCP learns whose tokens count (RFC 9728).
const wellKnownResource = "/.well-known/oauth-protected-resource"

// toolScopes are what tools may need.
var toolScopes = []auth.Scope{auth.AgentsRead, auth.SessionsWrite, auth.TasksInput, auth.TasksRead, auth.TasksWrite}

// protectedResource is the metadata of an endpoint that takes tokens of issuers.
type protectedResource struct {
	Resource string       `json:"resource"`
	Issuers  []string     `json:"authorization_servers"`
	Scopes   []auth.Scope `json:"scopes_supported"`
	Methods  []string     `json:"bearer_methods_supported"`
}

// tokens has clients find out where tokens for the tools come from.
type tokens struct {
	cfg  Config
	base func() string // where clients reach the gateway
}

// page is the metadata of the endpoint whose path follows the well-known one.
func (p tokens) page(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, wellKnownResource)
	if name := r.PathValue("name"); !p.matter() || strings.Contains(path, "/agents/") && !task.ValidAgent(name) {
		return mesh.Refuse(problem.ErrNotFound, "There are no authorization servers for %s: this gateway asks for no tokens of OpenID Connect there.", cmp.Or(mesh.Clip(path, 128), "/"))
	}
	b, err := json.Marshal(protectedResource{p.base() + path, p.cfg.Issuers, toolScopes, []string{"header"}})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
	return nil
}

// matter reports whether tokens of issuers open the tools.
func (p tokens) matter() bool { return p.cfg.MCP && len(p.cfg.Issuers) > 0 }

// challenge adds to the refusal of a request to the tools where tokens come from.
// Without credentials a client learns what to ask for; one without a scope keeps
// what it has.
func (p tokens) challenge(w http.ResponseWriter, r *http.Request, who auth.Caller, need auth.Scope) {
	said := w.Header().Get("WWW-Authenticate")
	if said == "" || !p.matter() || !strings.HasSuffix(chi.RouteContext(r.Context()).RoutePattern(), "/mcp") {
		return
	}
	where := `resource_metadata="` + p.base() + wellKnownResource + r.URL.EscapedPath() + `"`
	switch {
	case strings.Contains(said, "insufficient_scope"):
		ask := []auth.Scope{need}
		for _, s := range toolScopes {
			if s != need && who.May(s) {
				ask = append(ask, s)
			}
		}
		said = `Bearer error="insufficient_scope", scope="` + inWords(ask) + `", ` + where
	case said == "Bearer":
		said += " " + where + `, scope="` + inWords(toolScopes) + `"`
	default:
		said += ", " + where + `, scope="` + inWords(toolScopes) + `"`
	}
	w.Header().Set("WWW-Authenticate", said)
}

func inWords(scopes []auth.Scope) string {
	all := make([]string, len(scopes))
	for i, s := range scopes {
		all[i] = string(s)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
