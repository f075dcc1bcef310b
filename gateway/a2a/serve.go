package a2a

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/mesh"
)

// JSONRPC answers a request to the JSON-RPC endpoint of an agent. refused is why the
// gateway does not admit it, nil: it does.
func (f *Face) JSONRPC(w http.ResponseWriter, r *http.Request, agent string, door Door, refused error) {
	x := f.exchange(w, r, agent, door)
	x.reply.rpc, x.reply.id = true, json.RawMessage("null")
	op, params, err := x.rpc(refused)
	if err != nil {
		x.reply.fail(x.failureOf(err))
		return
	}
	x.run(op, params)
}

// REST answers a request to a path below the HTTP+JSON endpoint of an agent.
func (f *Face) REST(w http.ResponseWriter, r *http.Request, agent, path string, door Door, refused error) {
	x := f.exchange(w, r, agent, door)
	if strings.Contains(r.Header.Get("Accept"), mediaA2A) {
		x.reply.media = mediaA2A
	}
	op, params, err := x.rest(path, refused)
	if err != nil {
		x.reply.fail(x.failureOf(err))
		return
	}
	x.run(op, params)
}

func (f *Face) exchange(w http.ResponseWriter, r *http.Request, agent string, door Door) *exchange {
	return &exchange{Face: f, door: door, r: r, agent: agent, reply: &reply{w: w, control: http.NewResponseController(w), media: mediaJSON}}
}

// rpc reads what a JSON-RPC request asks for.
func (x *exchange) rpc(refused error) (op operation, params json.RawMessage, err error) {
	if refused != nil {
		return op, nil, refused
	}
	if err := media(x.r, mediaJSON); err != nil {
		return op, nil, err
	}
	body, err := x.door.Body()
	if err != nil {
		return op, nil, err
	}
	var req struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}
	if json.Unmarshal(body, &req) != nil {
		return op, nil, refuse(a2a.ErrInvalidRequest, "", "The request is no object of JSON-RPC 2.0; batches are not taken.")
	}
	if len(req.ID) > 0 {
		if c := req.ID[0]; c == '{' || c == '[' || c == 't' || c == 'f' {
			return op, nil, refuse(a2a.ErrInvalidRequest, "", "The id must be a string, a number or null.")
		}
		x.reply.id = req.ID
	}
	if req.Version != "2.0" || req.Method == "" {
		return op, nil, refuse(a2a.ErrInvalidRequest, "", `The request needs "jsonrpc":"2.0" and a method.`)
	}
	if err := x.spoken(); err != nil {
		return op, nil, err
	}
	if len(req.Params) == 0 {
		req.Params = json.RawMessage("{}")
	}
	if x.reply.old != nil {
		x.reply.old.asks = req.Method == "message/stream"
		op, x.sent, err = x.oldRPC(req.Method, req.Params)
		return op, x.sent, err
	}
	op, ok := operations[req.Method]
	if !ok {
		return op, nil, refuse(a2a.ErrMethodNotFound, "", "There is no method "+quoted(req.Method)+" in A2A 1.0.")
	}
	x.sent = camel(req.Params)
	return op, x.sent, nil
}

func quoted(name string) string { return strconv.Quote(mesh.Clip(name, 64)) }

// spoken refuses a request of another version, or without an extension that it needs.
func (x *exchange) spoken() error {
	if x.compat() {
		x.reply.old = &oldForm{rest: !x.reply.rpc}
	} else if err := version(x.r); err != nil {
		return err
	}
	return x.extensions()
}

// versionOf is the version that a request names.
func versionOf(r *http.Request) string {
	if said := r.Header.Get("A2A-Version"); said != "" {
		return said
	}
	return r.URL.Query().Get("A2A-Version")
}

// version refuses a request of another version of the protocol. One that names none
// is of 0.3.
func version(r *http.Request) error {
	said := versionOf(r)
	parts := strings.Split(said, ".")
	if len(parts) >= 2 && len(parts) <= 3 && parts[0] == "1" && parts[1] == "0" {
		return nil
	}
	if said == "" {
		said = "0.3, since none is named"
	}
	return refuse(a2a.ErrVersionNotSupported, "", "The version is "+mesh.Clip(said, 32)+"; send A2A-Version: 1.0.")
}

// media refuses a body of another type. The one of A2A is read as JSON.
func media(r *http.Request, allowed ...string) error {
	sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	for _, m := range allowed {
		if err == nil && sent == m {
			r.Header.Set("Content-Type", mediaJSON)
			return nil
		}
	}
	return &unsupported{r.Header.Get("Content-Type")}
}

// unsupported is the refusal of a content type: over HTTP+JSON it is 415.
type unsupported struct{ sent string }

func (u *unsupported) Error() string {
	return "The content type is " + strconv.Quote(mesh.Clip(u.sent, 64)) + "; send application/json."
}

// names are those of params that some clients spell as the proto does.
var names = map[string]string{
	"task_id": "taskId", "history_length": "historyLength", "page_size": "pageSize", "page_token": "pageToken", "context_id": "contextId",
	"include_artifacts": "includeArtifacts", "status_timestamp_after": "statusTimestampAfter",
}

// camel spells the known members of params as JSON does.
func camel(params json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(params, &members) != nil {
		return params
	}
	changed := false
	for from, to := range names {
		if v, ok := members[from]; ok && members[to] == nil {
			members[to], changed = v, true
			delete(members, from)
		}
	}
	if !changed {
		return params
	}
	b, err := json.Marshal(members)
	if err != nil {
		return params
	}
	return b
}

// rest reads what a request of HTTP+JSON asks for.
func (x *exchange) rest(path string, refused error) (op operation, params json.RawMessage, err error) {
	if refused != nil {
		return op, nil, refused
	}
	if err := x.spoken(); err != nil {
		return op, nil, err
	}
	old := x.reply.old
	if old != nil {
		path = oldPath(x.r, path)
	}
	where, tenant := strings.Split(strings.Trim(path, "/"), "/"), ""
	if len(where) > 1 && where[0] != "tasks" {
		tenant, where = where[0], where[1:]
	}
	if tenant, err = url.PathUnescape(tenant); err != nil {
		tenant = "?"
	}
	name, members, body := x.route(where)
	op, ok := operations[name]
	if !ok {
		return op, nil, refuse(a2a.ErrMethodNotFound, "", x.r.Method+" "+mesh.Clip(path, 128)+" is no operation of A2A 1.0.")
	}
	if body {
		if err := media(x.r, mediaJSON, mediaA2A); err != nil {
			return op, nil, err
		}
		if x.sent, err = x.door.Body(); err != nil {
			return op, nil, err
		}
		if err := x.ofTenant(tenant, a2a.ErrInvalidParams); err != nil {
			return op, nil, err
		}
		if old != nil {
			old.asks = name == "SendStreamingMessage"
			if x.sent, err = translated(x.sent, oldBodies[name]); err != nil {
				return op, nil, err
			}
		}
		x.sent, err = within(x.sent, members)
		return op, x.sent, err
	}
	if old != nil {
		oldQuery(members)
	}
	if members["tenant"] = tenant; tenant == "" {
		delete(members, "tenant")
	}
	if err := numbers(members); err != nil {
		return op, nil, err
	}
	x.sent, err = json.Marshal(members)
	return op, x.sent, err
}

// route is the operation at a path, what of its params the path and the query say,
// and whether they are in the body instead.
func (x *exchange) route(where []string) (name string, members map[string]any, body bool) {
	members = map[string]any{}
	for k, v := range x.r.URL.Query() {
		if k != "A2A-Version" {
			members[k] = v[0]
		}
	}
	at := x.r.Method + " " + strings.Join(where[:1], "/")
	if where[0] != "tasks" && len(where) > 1 {
		return "", nil, false
	}
	switch {
	case at == "POST message:send":
		return "SendMessage", nil, true
	case at == "POST message:stream":
		return "SendStreamingMessage", nil, true
	case at == "GET extendedAgentCard":
		return "GetExtendedAgentCard", members, false
	case len(where) == 1 && at == "GET tasks":
		return "ListTasks", members, false
	case len(where) < 2:
		return "", nil, false
	}
	id, action, _ := strings.Cut(where[1], ":")
	members["id"] = id
	if len(where) == 2 {
		return oneTask[x.r.Method+" "+action], members, false
	}
	if where[2] == "pushNotificationConfigs" && action == "" {
		delete(members, "id")
		if members["taskId"] = id; len(where) == 4 {
			members["id"] = where[3]
		}
		name := pushOf[x.r.Method+" "+strconv.Itoa(len(where))]
		return name, members, x.r.Method == http.MethodPost
	}
	return "", nil, false
}

// oneTask are the operations on a task, by the method and the action behind its id.
var oneTask = map[string]string{
	"GET ": "GetTask", "POST cancel": "CancelTask", "POST subscribe": "SubscribeToTask", "GET subscribe": "SubscribeToTask",
}

// pushOf are the operations on push configurations, by the method and the length of
// the path.
var pushOf = map[string]string{
	"POST 3": "CreateTaskPushNotificationConfig", "GET 3": "ListTaskPushNotificationConfigs",
	"GET 4": "GetTaskPushNotificationConfig", "DELETE 4": "DeleteTaskPushNotificationConfig",
}

// within puts what the path says into the params of a body.
func within(body json.RawMessage, said map[string]any) (json.RawMessage, error) {
	if len(said) == 0 {
		return body, nil
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, refuse(a2a.ErrInvalidParams, "", "The body must be an object.")
	}
	maps.Copy(members, said)
	return json.Marshal(members)
}

// numbers gives the members of a query that are no strings their types.
func numbers(members map[string]any) error {
	for _, name := range []string{"historyLength", "pageSize"} {
		if text, ok := members[name].(string); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				return invalid(mesh.Field("it must be a whole number", "/"+name))
			}
			members[name] = n
		}
	}
	if text, ok := members["includeArtifacts"].(string); ok {
		yes, err := strconv.ParseBool(text)
		if err != nil {
			return invalid(mesh.Field("it must be true or false", "/includeArtifacts"))
		}
		members["includeArtifacts"] = yes
	}
	return nil
}
