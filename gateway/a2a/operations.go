package a2a

import (
	"context"
	"encoding/json"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// operation is one method of the protocol, in either binding. Exactly one of do and
// stream is set.
type operation struct {
	scope  auth.Scope // empty: the operation asks itself
	do     func(context.Context, *exchange, json.RawMessage) (any, error)
	stream func(context.Context, *exchange, json.RawMessage) error
}

var operations = map[string]operation{
	"SendMessage":          {do: typed(sends, messages.sendMessage)},
	"SendStreamingMessage": {stream: streamed(sends, messages.streamMessage)},
	"GetTask":              {scope: auth.TasksRead, do: typed(itself, (*exchange).getTask)},
	"ListTasks":            {scope: auth.TasksRead, do: typed(itself, (*exchange).listTasks)},
	"CancelTask":           {scope: auth.TasksWrite, do: typed(itself, (*exchange).cancelTask)},
	"SubscribeToTask":      {scope: auth.TasksRead, stream: streamed(itself, (*exchange).subscribe)},

	"CreateTaskPushNotificationConfig": {scope: auth.TasksWrite, do: typed(pushes, pushing.create)},
	"GetTaskPushNotificationConfig":    {scope: auth.TasksRead, do: typed(pushes, pushing.get)},
	"ListTaskPushNotificationConfigs":  {scope: auth.TasksRead, do: typed(pushes, pushing.list)},
	"DeleteTaskPushNotificationConfig": {scope: auth.TasksWrite, do: typed(pushes, pushing.remove)},

	"GetExtendedAgentCard": {scope: auth.Known, do: noExtendedCard},
}

func itself(x *exchange) *exchange { return x }

// typed is an operation whose params have a type, of what a request is taken for.
func typed[On, In, Out any](of func(*exchange) On, do func(On, context.Context, *In) (Out, error)) func(context.Context, *exchange, json.RawMessage) (any, error) {
	return func(ctx context.Context, x *exchange, params json.RawMessage) (any, error) {
		in, err := decode[In](params)
		if err != nil {
			return nil, err
		}
		return do(of(x), ctx, in)
	}
}

func streamed[On, In any](of func(*exchange) On, do func(On, context.Context, *In) error) func(context.Context, *exchange, json.RawMessage) error {
	return func(ctx context.Context, x *exchange, params json.RawMessage) error {
		in, err := decode[In](params)
		if err != nil {
			return err
		}
		return do(of(x), ctx, in)
	}
}

func decode[In any](params json.RawMessage) (*In, error) {
	in := new(In)
	if len(params) == 0 || params[0] != '{' {
		return nil, refuse(a2a.ErrInvalidParams, "", "The params must be an object.")
	}
	if err := json.Unmarshal(params, in); err != nil {
		return nil, refuse(a2a.ErrInvalidParams, "", "The params cannot be read: "+mesh.Clip(err.Error(), 256)+".")
	}
	return in, nil
}

func noExtendedCard(context.Context, *exchange, json.RawMessage) (any, error) {
	return nil, refuse(a2a.ErrUnsupportedOperation, "", "There is no extended card: the public one says everything.")
}

// run does an operation and answers it.
func (x *exchange) run(op operation, params json.RawMessage) {
	x.reply.streams = op.stream != nil
	if err := x.perform(op, params); err != nil {
		x.reply.fail(x.failureOf(err))
	}
}

func (x *exchange) perform(op operation, params json.RawMessage) error {
	if op.scope != "" {
		if err := x.door.Permit(op.scope); err != nil {
			return err
		}
	}
	if d, err := x.mesh.Agents.Definition(x.r.Context(), x.caller(), x.agent); err == nil && d.NoA2A {
		return hidden(d.Name)
	}
	if op.stream != nil && x.cfg.NoStream {
		return refuse(a2a.ErrUnsupportedOperation, "", "Agents of this mesh send no streams, as their cards say.")
	}
	if op.stream == nil {
		out, err := op.do(x.r.Context(), x, params)
		if err == nil {
			x.reply.result(out)
		}
		return err
	}
	if err := x.door.Hold(mesh.HeldStream); err != nil {
		return err
	}
	ctx, end := x.door.Known(auth.TasksRead)
	defer end()
	return op.stream(ctx, x, params)
}

// ofTenant refuses a tenant that is not the caller's.
func (x *exchange) ofTenant(tenant string, is error) error {
	if tenant == "" || tenant == x.caller().Tenant {
		return nil
	}
	return refuse(is, "", "The tenant is the one of the credentials; leave it out.")
}
