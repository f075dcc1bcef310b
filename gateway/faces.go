package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"agentmesh/gateway/mcp"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// face is a route of a protocol of others over the same core. Who asks, how often and
// how much comes is checked as for an operation; answers and errors are the protocol's
// own, and so is the description: the OpenAPI document says nothing of it.
func face(method, path, id string, handle func(*call) error) route {
	return route{
		method: method, path: path, scope: auth.Known, id: id, handler: handle,
		takes: &taken{}, gives: &given{answers: []givenAnswer{{media: mediaEvents}}}, // an answer may be a stream
	}
}

// permits returns what refuses the caller of c without a scope, and notes it.
func (c *call) permits() func(auth.Scope) error {
	return func(need auth.Scope) error {
		err := permit(c.w, c.caller(), need)
		if err != nil {
			c.front.tokens.challenge(c.w, c.r, c.caller(), need)
			c.front.trail.Refused(c.r.Context(), c.caller(), c.r.Method+" "+chi.RouteContext(c.r.Context()).RoutePattern(), err)
		}
		return err
	}
}

// mcpFace is the routes of the Model Context Protocol.
type mcpFace struct {
	mesh    *mesh.Mesh
	log     *slog.Logger
	cfg     Config
	closing context.Context // done when held calls should end
}

func (h mcpFace) routes() []route {
	if !h.cfg.MCP {
		return nil
	}
	f := mcp.New(mcp.Options{
		Mesh: h.mesh, Log: h.log, Keys: h.cfg.Keys, Closing: h.closing, Hold: h.cfg.MCPHold, PublicURL: h.cfg.PublicURL, Version: h.cfg.Version, MaxBody: h.cfg.MaxBody,
	})
	serve := func(c *call) error {
		body, err := c.front.readJSON(c.w, c.r)
		if errors.Is(err, mesh.ErrMalformedJSON) {
			mcp.WriteError(c.w, http.StatusBadRequest, nil, -32700, problemOf(err).Detail)
			return nil
		}
		if err != nil {
			return err
		}
		key, err := idempotencyKey(c.r.Header)
		if err != nil {
			return err
		}
		in := mcp.Request{Caller: c.caller(), Agent: c.inPath("name"), Body: body, Key: key, EventDepth: c.depth, Permit: c.permits()}
		releaseBody(c.r)
		return f.Serve(c.w, c.r, in)
	}
	return []route{face("POST", "/mcp", "mcp", serve), face("POST", "/agents/{name}/mcp", "mcpOfAgent", serve)}
}
