// Package a2a is the A2A 1.0 face of the mesh: each agent has a card, a JSON-RPC
// and an HTTP+JSON endpoint.
//
// It promises that a message is an ordinary task: made by the core's one path, seen
// by every other face, and refused before anything was accepted. It keeps nothing of
// its own. The gateway admits each request before it comes here, and says through a
// Door what it may take of it.
//
// The types on the wire are those of a2a-go; its server is not used, since it keeps
// tasks of its own and tells errors of a stream behind a 200.
package a2a

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// Config of the face.
type Config struct {
	Base    func() string // URL of the gateway as clients reach it
	Auth    string        // mode of the gateway's authentication
	Issuers []string      // of OpenID Connect, whose tokens count
	Hold    time.Duration // how long a message is waited for
	Compat  bool          // clients of A2A 0.3 are served, too
	Options
	Closing context.Context
	Log     *slog.Logger
}

// Options take something away from the face, or demand it: so it shows a client how
// other servers are.
type Options struct {
	NoPush   bool     // offer no push notifications
	NoStream bool     // offer no streams
	Required []string // extensions without which nothing is taken
}

// Face serves A2A over the core.
type Face struct {
	mesh  *mesh.Mesh
	cfg   Config
	began time.Time
}

// New makes the face.
func New(m *mesh.Mesh, cfg Config) *Face {
	return &Face{mesh: m, cfg: cfg, began: time.Now().UTC().Truncate(time.Second)}
}

// Door is what the gateway lets one admitted request have.
type Door interface {
	// Body reads the body whole, within the limit: one JSON text without duplicate keys.
	Body() ([]byte, error)
	// Release gives back what the body took of the memory for bodies.
	Release()
	// Key is the Idempotency-Key of the request; content is what equal requests share.
	Key(content []byte) (*mesh.Key, error)
	// Permit refuses a caller without a scope.
	Permit(auth.Scope) error
	// Hold takes one of the requests that the tenant may have kept.
	Hold(mesh.Held) error
	// Known is a context that ends when the credentials of the caller do.
	Known(auth.Scope) (ctx context.Context, end func())
	// Depth is how many events lie behind the request.
	Depth() int
	// Refusal is what the caller sees of an error, and its HTTP status.
	Refusal(error) (refused *mesh.Error, status int)
}

// exchange is one request and its answer.
type exchange struct {
	*Face
	door  Door
	r     *http.Request
	agent string
	reply *reply
	sent  json.RawMessage // the params, as they came

	dedupe bool // the id of a message finds an earlier task
}

func (x *exchange) caller() auth.Caller { return auth.Of(x.r.Context()) }
