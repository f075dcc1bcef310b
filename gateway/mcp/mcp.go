// Package mcp is the Model Context Protocol face of the mesh: every agent is a tool,
// and a call of it is a task like any other.
//
// It promises that a call is durable before it is held, that what a client cannot wait
// for is told with the task's id, and that what is advertised works. It speaks
// 2026-07-28 and, without server-sent requests, the versions before it. It knows no
// credentials: the gateway says who calls, and the core decides.
package mcp

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/auth"
	"agentmesh/shared/keyring"
	"agentmesh/shared/mesh"
	"agentmesh/shared/secret"
)

// Options of the face.
type Options struct {
	Mesh *mesh.Mesh
	Log  *slog.Logger
	// Keys seal what a client carries from one call to the next; nil: only this
	// process reads it again.
	Keys      *keyring.Ring
	Closing   context.Context // done when held calls should end
	Hold      time.Duration   // how long a call is held for a client that knows no tasks
	PublicURL string
	Version   string
	MaxBody   int64
}

// Face serves the endpoints.
type Face struct {
	Options

	mu        sync.Mutex
	endpoints map[string]*endpoint // by agent, empty: all
}

// New makes the face.
func New(o Options) *Face {
	if o.Keys == nil {
		k, err := secret.New(secret.NewKey())
		if err != nil {
			panic(err) // the key is ours
		}
		o.Keys = keyring.New(k)
	}
	o.PublicURL = strings.TrimSuffix(o.PublicURL, "/")
	return &Face{Options: o, endpoints: map[string]*endpoint{}}
}

// endpoint is one set of tools with its server.
type endpoint struct {
	*Face
	agent   string
	self    *sdk.Implementation
	server  *sdk.Server
	handler http.Handler

	mu    sync.Mutex
	stamp uint64 // of the definitions that the tools were made of
	tools map[string]*mesh.Agent
}

// endpoint finds the endpoint of an agent, with the tools that there are now.
func (f *Face) endpoint(ctx context.Context, who auth.Caller, agent string) (*endpoint, error) {
	all, err := f.Mesh.Agents.Definitions(ctx, who)
	if err != nil {
		return nil, err
	}
	if agent != "" {
		a, err := f.Mesh.Agents.Definition(ctx, who, agent)
		if err != nil {
			return nil, err
		}
		all = []*mesh.Agent{a}
	}
	f.mu.Lock()
	e := f.endpoints[agent]
	if e == nil {
		e = f.newEndpoint(agent)
		f.endpoints[agent] = e
	}
	f.mu.Unlock()
	e.update(all)
	return e, nil
}

// tasksExtension is the extension by which a call goes on as a task.
const tasksExtension = "io.modelcontextprotocol/tasks"

// tasksCapability is how a client declares it.
const tasksCapability = `{"extensions":{"` + tasksExtension + `":{}}}`

func (f *Face) newEndpoint(agent string) *endpoint {
	e := &endpoint{Face: f, agent: agent, self: &sdk.Implementation{Name: "agentmesh", Version: f.Version}, tools: map[string]*mesh.Agent{}}
	can := &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}, Prompts: &sdk.PromptCapabilities{}, Resources: &sdk.ResourceCapabilities{}}
	can.AddExtension(tasksExtension, nil)
	e.server = sdk.NewServer(e.self, &sdk.ServerOptions{
		Capabilities: can, Logger: slog.New(slog.DiscardHandler),
		Instructions: "Each tool is an agent. A call runs as a durable task: it goes on when you stop waiting, and its id finds it again.",
	})
	ownTools{e}.add()
	e.addResources()
	extension{e}.add()
	e.server.AddReceivingMiddleware(objectsOnly)
	e.handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return e.server }, &sdk.StreamableHTTPOptions{
		Stateless: true, PropagateRequestCancellation: true, MaxRequestBodyBytes: f.MaxBody,
		DisableLocalhostProtection: true, // the gateway keeps the pages of other sites out, and knows its public host
	})
	return e
}
