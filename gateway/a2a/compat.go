package a2a

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/mesh"
)

// Clients of A2A 0.3 name no version. Their requests are read as those of 1.0 here, and
// compat_view.go writes the answers as they know them: everything between is the same.

// compat reports whether a request is one of A2A 0.3 that the operator lets in.
func (x *exchange) compat() bool {
	said := versionOf(x.r)
	return x.cfg.Compat && (said == "" || said == "0.3" || strings.HasPrefix(said, "0.3."))
}

// oldMethods are the operations by their methods of 0.3, with how their params are read.
var oldMethods = map[string]struct {
	name string
	read func(json.RawMessage) (any, error)
}{
	"message/send":      {"SendMessage", oldSending(false)},
	"message/stream":    {"SendStreamingMessage", oldSending(false)},
	"tasks/get":         {"GetTask", asItIs},
	"tasks/cancel":      {"CancelTask", asItIs},
	"tasks/resubscribe": {"SubscribeToTask", asItIs},

	"tasks/pushNotificationConfig/set":    {"CreateTaskPushNotificationConfig", oldPushSet},
	"tasks/pushNotificationConfig/get":    {"GetTaskPushNotificationConfig", oldPushNamed},
	"tasks/pushNotificationConfig/list":   {"ListTaskPushNotificationConfigs", oldPushNamed},
	"tasks/pushNotificationConfig/delete": {"DeleteTaskPushNotificationConfig", oldPushNamed},

	"agent/getAuthenticatedExtendedCard": {"GetExtendedAgentCard", asItIs},
}

// oldRPC is the operation of a method of 0.3, and its params as those of 1.0.
func (x *exchange) oldRPC(method string, params json.RawMessage) (op operation, sent json.RawMessage, err error) {
	m, ok := oldMethods[method]
	if !ok {
		return op, nil, refuse(a2a.ErrMethodNotFound, "", "There is no method "+quoted(method)+" in A2A 0.3; send A2A-Version: 1.0 for those of 1.0.")
	}
	sent, err = translated(params, m.read)
	return operations[m.name], sent, err
}

// oldBodies are how the bodies of HTTP+JSON are read, by the operation.
var oldBodies = map[string]func(json.RawMessage) (any, error){
	"SendMessage": oldSending(true), "SendStreamingMessage": oldSending(true), "CreateTaskPushNotificationConfig": oldPushSet,
}

func translated(params json.RawMessage, read func(json.RawMessage) (any, error)) (json.RawMessage, error) {
	v, err := read(params)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, refuse(a2a.ErrInvalidParams, "", "The params cannot be read: "+mesh.Clip(err.Error(), 256)+".")
	}
	return raw, nil
}

func asItIs(params json.RawMessage) (any, error) { return params, nil }

// oldPart is a part of 0.3, in the form of JSON-RPC or in that of HTTP+JSON.
type oldPart struct {
	Text *string         `json:"text"`
	Data json.RawMessage `json:"data"`
	File *struct {
		Bytes         *string `json:"bytes"`
		URI           *string `json:"uri"`
		FileWithBytes *string `json:"fileWithBytes"`
		FileWithURI   *string `json:"fileWithUri"`
		MimeType      string  `json:"mimeType"`
		Name          string  `json:"name"`
	} `json:"file"`
	Metadata struct {
		Wrapped bool `json:"data_part_compat"` // the value is the member of that name
	} `json:"metadata"`
}

type oldPush struct {
	ID             string `json:"id"`
	URL            string `json:"url"`
	Token          string `json:"token"`
	Authentication *struct {
		Schemes     []string `json:"schemes"`
		Credentials string   `json:"credentials"`
	} `json:"authentication"`
}

// oldSent is the params of a message of 0.3, in both forms.
type oldSent struct {
	Message *struct {
		message
		Parts   []oldPart `json:"parts"`
		Content []oldPart `json:"content"` // of HTTP+JSON
	} `json:"message"`
	Configuration *struct {
		AcceptedOutputModes    []string `json:"acceptedOutputModes"`
		Blocking               *bool    `json:"blocking"`
		HistoryLength          *int     `json:"historyLength"`
		PushNotificationConfig *oldPush `json:"pushNotificationConfig"`
		PushNotification       *oldPush `json:"pushNotification"` // of HTTP+JSON
	} `json:"configuration"`
	Metadata json.RawMessage `json:"metadata"`
}

// oldSending reads a message of 0.3. rest: in the form of HTTP+JSON, whose clients leave
// out what is false and 0.
func oldSending(rest bool) func(json.RawMessage) (any, error) {
	return func(params json.RawMessage) (any, error) {
		in, err := decode[oldSent](params)
		if err != nil {
			return nil, err
		}
		out := sending{Metadata: in.Metadata}
		if m := in.Message; m != nil {
			out.Message = &m.message
			if m.Role == "user" {
				out.Message.Role = string(a2a.MessageRoleUser)
			}
			for _, p := range append(m.Parts, m.Content...) {
				out.Message.Parts = append(out.Message.Parts, p.read(rest))
			}
		}
		if c := in.Configuration; c != nil {
			out.Config = &a2a.SendMessageConfig{AcceptedOutputModes: c.AcceptedOutputModes, HistoryLength: c.HistoryLength}
			out.Config.ReturnImmediately = c.Blocking != nil && !*c.Blocking || c.Blocking == nil && rest
			if p := c.PushNotificationConfig; p != nil {
				out.Config.PushConfig = p.read("")
			} else if p := c.PushNotification; p != nil {
				out.Config.PushConfig = p.read("")
			}
		}
		return out, nil
	}
}

func (p oldPart) read(rest bool) part {
	switch {
	case p.Text != nil:
		return part{Text: p.Text}
	case p.File != nil:
		out := part{Filename: p.File.Name, MediaType: p.File.MimeType, URL: first(p.File.URI, p.File.FileWithURI)}
		if text := first(p.File.Bytes, p.File.FileWithBytes); text != nil {
			out.Raw = oldBytes(*text, rest)
		}
		return out
	}
	data := p.Data
	if rest {
		data = member(data, "data")
	}
	if p.Metadata.Wrapped {
		data = member(data, "value")
	}
	return part{Data: data}
}

// oldBytes decodes the bytes of a file. Over HTTP+JSON most clients encode them twice.
func oldBytes(text string, rest bool) *[]byte {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil // the part is refused, as it has nothing
	}
	if rest {
		if inner, err := base64.StdEncoding.DecodeString(string(raw)); err == nil && len(raw) > 0 {
			raw = inner
		}
	}
	return &raw
}

func first(a, b *string) *string {
	if a != nil {
		return a
	}
	return b
}

// member is one member of an object; nil: there is none.
func member(raw json.RawMessage, name string) json.RawMessage {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(raw, &members)
	return members[name]
}

func (p *oldPush) read(taskID string) *a2a.PushConfig {
	out := &a2a.PushConfig{TaskID: a2a.TaskID(taskID), ID: p.ID, URL: p.URL, Token: p.Token}
	if a := p.Authentication; a != nil {
		out.Auth = &a2a.PushAuthInfo{Credentials: a.Credentials}
		if len(a.Schemes) > 0 {
			out.Auth.Scheme = a.Schemes[0]
		}
	}
	return out
}

// oldPushSet reads a push configuration of 0.3. HTTP+JSON has the task in the path, and
// some of its clients have a request around the configuration.
func oldPushSet(params json.RawMessage) (any, error) {
	type set struct {
		TaskID   string   `json:"taskId"`
		Push     *oldPush `json:"pushNotificationConfig"`
		ConfigID string   `json:"configId"`
		Config   *struct {
			Push *oldPush `json:"pushNotificationConfig"`
		} `json:"config"`
	}
	in, err := decode[set](params)
	if err != nil {
		return nil, err
	}
	if in.Push == nil && in.Config != nil {
		in.Push = in.Config.Push
	}
	if in.Push == nil {
		return nil, invalid(mesh.Field("is missing", "/pushNotificationConfig"))
	}
	if in.Push.ID == "" {
		in.Push.ID = in.ConfigID
	}
	return in.Push.read(in.TaskID), nil
}

// oldPushNamed reads which push configurations of which task a request of 0.3 is about.
func oldPushNamed(params json.RawMessage) (any, error) {
	type named struct {
		ID     string `json:"id"`
		Config string `json:"pushNotificationConfigId"`
	}
	in, err := decode[named](params)
	if err != nil {
		return nil, err
	}
	return map[string]string{"taskId": in.ID, "id": in.Config}, nil
}

// oldQuery spells the query of HTTP+JSON of 0.3 as 1.0 does.
func oldQuery(members map[string]any) {
	if after, ok := members["lastUpdatedAfter"]; ok {
		members["statusTimestampAfter"] = after
		delete(members, "lastUpdatedAfter")
	}
	if members["status"] == oldCanceled {
		members["status"] = string(a2a.TaskStateCanceled)
	}
}

// oldPath is a path of HTTP+JSON of 0.3 as 1.0 has it.
func oldPath(r *http.Request, path string) string {
	path = strings.TrimPrefix(strings.Trim(path, "/"), "v1/")
	if r.Method == http.MethodGet && path == "card" {
		return "extendedAgentCard"
	}
	return path
}
