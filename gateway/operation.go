package gateway

import (
	"context"
	"net/http"
	"net/url"
	"reflect"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// route is one operation: what chi serves and what the OpenAPI document says.
//
// The operations are registered by our own adapter rather than through huma: for
// POST /tasks huma's decoding and validation take three times as long with 40 KB
// (BenchmarkHTTPLayer). The document still comes from the Go types, through
// huma's schemas.
type route struct {
	method, path string
	scope        auth.Scope // of those who may
	id           string     // operationId
	summary      string
	handler      handler
	takes        *taken
	gives        *given
	problems     []*mesh.Refusal // besides those that come with what it takes
	probe        bool            // not traced
	outside      bool            // of others' programs, which send what they like and are not believed
}

// param is a header or query parameter.
type param struct{ name, doc string }

// call is one request on its way through an operation.
type call struct {
	front *front
	w     http.ResponseWriter
	r     *http.Request
	who   auth.Caller // a stranger, until admit has found out
	prefs preferences
	query url.Values // nil when the request has none
	depth int        // how many events lie behind it; of a POST
	body  []byte     // as it was sent; of operations that keep it
	kept  func()     // gives back what hold took; nil: nothing
	sent  meteredBody
}

// request is the call in what an operation takes, whose type embeds it.
type request struct{ *call }

func (r *request) bind(c *call) { r.call = c }

// plain is what an operation takes that has no parameters.
type plain struct{ request }

// caller is who asks.
func (c *call) caller() auth.Caller { return c.who }

// inPath is the value of a parameter of the path. The router takes a path with
// escapes such as %2F as it was sent, and leaves them in.
func (c *call) inPath(name string) string {
	sent := c.r.PathValue(name)
	if c.r.URL.RawPath == "" {
		return sent
	}
	value, err := url.PathUnescape(sent)
	if err != nil { // it was parsed before
		return sent
	}
	return value
}

func (c *call) links() links { return linksOf(c.w) }

// key is the Idempotency-Key of the request, nil when it has none.
func (c *call) key() (*mesh.Key, error) { return keyOf(c.who, c.r, c.body) }

// next is the Link to the page that begins at a cursor; empty where there is none.
func (c *call) next(cursor string) string {
	if cursor == "" {
		return ""
	}
	q := c.r.URL.Query()
	q.Set("cursor", cursor)
	return "<" + c.r.URL.Path + "?" + q.Encode() + `>; rel="next"`
}

// handler is an operation whose types are behind it.
type handler func(*call) error

// operation is the route of a typed handler. In says by its tags what it takes:
//
//	path:"id" header:"If-Match" query:"limit" query:"status,list" body:"required" body:"optional" body:"required,kept"
//
// Out says what it answers: the one of the fields tagged status:"200" that is
// set is the body (a pointer), says that there is none (a bool) or writes itself
// (events, value); header:"ETag" are the headers, with on:"200" those of one
// status only, and header:"Vary: Prefer" one that is always the same. An Out
// without such tags is the body of a 200. The OpenAPI document is made of the
// same tags, so that it cannot say anything else.
//
// scope is what the caller must have; nobody else gets to the handler.
func operation[In, Out any](method, path string, scope auth.Scope, id, summary string, do func(context.Context, In) (Out, error), problems ...*mesh.Refusal) route {
	if scope == "" {
		panic("the operation " + id + " has no scope") // ours must
	}
	in, out := takes(reflect.TypeFor[In]()), gives(reflect.TypeFor[Out]())
	return route{
		method: method, path: path, scope: scope, id: id, summary: summary, takes: in, gives: out, problems: problems,
		handler: func(c *call) error {
			var req In
			if in, ok := any(&req).(interface{ bind(*call) }); ok {
				in.bind(c)
			}
			if err := in.read(c, reflect.ValueOf(&req).Elem()); err != nil {
				return err
			}
			res, err := do(c.r.Context(), req)
			if err != nil {
				return err
			}
			return out.write(c, reflect.ValueOf(&res).Elem())
		},
	}
}

// events is an answer of server-sent events, value one of any JSON value that
// writes itself.
type (
	events func(w http.ResponseWriter, r *http.Request)
	value  func(w http.ResponseWriter, r *http.Request)
)

// followed is an answer of events that go on.
type followed struct {
	Stream events `status:"200" doc:"The events, as a stream."`
}

// page is the answer of a list.
type page[T any] struct {
	Body *T     `status:"200"`
	Link string `header:"Link" doc:"The next page, where there is one."`
}

// fresh is an answer that nobody keeps.
type fresh[T any] struct {
	Body *T       `status:"200"`
	_    struct{} `header:"Cache-Control: no-store"`
}

// polled is something that changes, which a client asks for again and again.
type polled[T any] struct {
	Body       *T       `status:"200"`
	Same       bool     `status:"304"`
	ETag       string   `header:"ETag" doc:"The version of the answer."`
	RetryAfter string   `header:"Retry-After" on:"200" doc:"When to ask again, in seconds, while it has not finished."`
	Applied    string   `header:"Preference-Applied" doc:"The preferences that were honoured."`
	_          struct{} `header:"Vary: Prefer"`
	_          struct{} `header:"Cache-Control: no-cache"`
}

// tagged is an answer with its version.
type tagged[T any] struct {
	Body *T     `status:"200"`
	ETag string `header:"ETag" doc:"The version of the answer."`
}

// cached is an answer with its version, which is asked for before it is used
// again.
type cached[T any] struct {
	Body *T       `status:"200"`
	ETag string   `header:"ETag" doc:"The version of the answer."`
	_    struct{} `header:"Cache-Control: no-cache"`
}

// revised is an answer with its version: whoever has that one is told so.
type revised[T any] struct {
	cached[T]
	Same bool `status:"304"`
}

// unless leaves the body out for a client that has this version.
func (r revised[T]) unless(k kept) revised[T] {
	if r.Same = k.has(r.ETag); r.Same {
		r.Body = nil
	}
	return r
}

// deleted is the answer of a DELETE.
type deleted struct {
	Gone bool `status:"204"`
}

// whole is the answer of one whole value, at a task's path.
type whole struct {
	Value value `status:"200"`
}

// versioned is a whole value with its version.
type versioned struct {
	whole
	Same bool   `status:"304"`
	ETag string `header:"ETag" doc:"The version of the task."`
}

// accepted is the answer of a request that made a task: the task, where it has
// finished within the wait, or A.
type accepted[A any] struct {
	Task *api.Task `status:"200"`
	Body *A        `status:"202"`
	ETag string    `header:"ETag" on:"200" doc:"The version of the task."`
	acceptance
}

// acceptance is the headers of an answer that made a task.
type acceptance struct {
	Location   string   `header:"Location" doc:"Where the task is read."`
	Replayed   string   `header:"Idempotent-Replayed" doc:"true: the key was known, and no task was made."`
	Applied    string   `header:"Preference-Applied" doc:"The preferences that were honoured."`
	RetryAfter string   `header:"Retry-After" on:"202" doc:"When to ask for the task, in seconds."`
	_          struct{} `header:"Vary: Prefer"`
}

// replayed is the value of Idempotent-Replayed.
func replayed(yes bool) string {
	if yes {
		return "true"
	}
	return ""
}

// anyJSON is an answer of any JSON value.
type anyJSON struct{}
