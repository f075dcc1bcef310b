package a2a_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	protocol "github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"

	"agentmesh/gateway/a2a"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// The Go client of others, unchanged, over both bindings: what make a2a-js and make
// a2a-kit do at length, with nothing to fetch.
func TestTheGoClientOfOthersWorksUnchanged(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	m := meshtest.New(t)
	m.Work(agents()...)
	base := listen(t, m, a2a.Options{})
	for _, binding := range []protocol.TransportProtocol{protocol.TransportProtocolJSONRPC, protocol.TransportProtocolHTTPJSON} {
		t.Run(string(binding), func(t *testing.T) { foreigner{t, base, binding}.visit() })
	}
}

type foreigner struct {
	*testing.T
	base    string
	binding protocol.TransportProtocol
}

func (f foreigner) client(agent string) *a2aclient.Client {
	f.Helper()
	card, err := agentcard.NewResolver(http.DefaultClient).Resolve(f.Context(), f.base+"/agents/"+agent+"/a2a/")
	if err != nil {
		f.Fatal(err)
	}
	c, err := a2aclient.NewFromCard(f.Context(), card, a2aclient.WithConfig(a2aclient.Config{PreferredTransports: []protocol.TransportProtocol{f.binding}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Destroy() })
	return c
}

func saying(words string) *protocol.SendMessageRequest {
	return &protocol.SendMessageRequest{Message: protocol.NewMessage(protocol.MessageRoleUser, protocol.NewTextPart(words))}
}

// send sends a message whose answer is a task in a state.
func (f foreigner) send(c *a2aclient.Client, req *protocol.SendMessageRequest, want protocol.TaskState) *protocol.Task {
	f.Helper()
	out, err := c.SendMessage(f.Context(), req)
	v, ok := out.(*protocol.Task)
	if err != nil || !ok || v.Status.State != want {
		f.Fatalf("%v: %+v, want %s", err, out, want)
	}
	return v
}

func (f foreigner) visit() {
	ctx := f.Context()
	says, asks, holds := f.client("says"), f.client("asks"), f.client("holds")
	done := f.send(says, saying("hello"), protocol.TaskStateCompleted)
	if words := done.Artifacts[0].Parts[0].Text(); words != "hello" {
		f.Errorf("result %q", words)
	}
	f.stream(says)
	later := saying("later")
	later.Config = &protocol.SendMessageConfig{ReturnImmediately: true}
	first := f.send(says, later, protocol.TaskStateSubmitted)
	natstest.Until(f.T, "it has ended", func() bool {
		v, err := says.GetTask(ctx, &protocol.GetTaskRequest{ID: first.ID})
		return err == nil && v.Status.State == protocol.TaskStateCompleted
	})
	page, err := says.ListTasks(ctx, &protocol.ListTasksRequest{PageSize: 1})
	if err != nil || len(page.Tasks) != 1 || page.NextPageToken == "" {
		f.Errorf("list = %+v %v", page, err)
	}
	question := f.send(asks, saying("x"), protocol.TaskStateInputRequired)
	reply := saying("yes")
	reply.Message.TaskID, reply.Message.ContextID = question.ID, question.ContextID
	f.send(asks, reply, protocol.TaskStateCompleted)
	held := saying("x")
	held.Config = later.Config
	running := f.send(holds, held, protocol.TaskStateSubmitted)
	f.push(holds, running.ID)
	if v, err := holds.CancelTask(ctx, &protocol.CancelTaskRequest{ID: running.ID}); err != nil || v.Status.State != protocol.TaskStateCanceled {
		f.Errorf("cancel = %+v %v", v, err)
	}
	f.errors(says, holds, done, running)
}

func (f foreigner) stream(c *a2aclient.Client) {
	var last protocol.Event
	for e, err := range c.SendStreamingMessage(f.Context(), saying("streamed")) {
		if err != nil {
			f.Fatal(err)
		}
		if _, ok := e.(*protocol.Task); !ok && last == nil {
			f.Errorf("a stream begins with %T", e)
		}
		last = e
	}
	if u, ok := last.(*protocol.TaskStatusUpdateEvent); !ok || u.Status.State != protocol.TaskStateCompleted {
		f.Errorf("a stream ends with %+v", last)
	}
}

func (f foreigner) push(c *a2aclient.Client, id protocol.TaskID) {
	ctx := f.Context()
	p, err := c.CreateTaskPushConfig(ctx, &protocol.PushConfig{TaskID: id, URL: "http://127.0.0.1:9/", Auth: &protocol.PushAuthInfo{Scheme: "Bearer", Credentials: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	if got, err := c.GetTaskPushConfig(ctx, &protocol.GetTaskPushConfigRequest{TaskID: id, ID: p.ID}); err != nil || got.URL != p.URL || got.Auth.Credentials != "" {
		f.Errorf("the receiver = %+v %v", got, err)
	}
	if err := c.DeleteTaskPushConfig(ctx, &protocol.DeleteTaskPushConfigRequest{TaskID: id, ID: p.ID}); err != nil {
		f.Error(err)
	}
	if all, err := c.ListTaskPushConfigs(ctx, &protocol.ListTaskPushConfigRequest{TaskID: id}); err != nil || len(all) != 0 {
		f.Errorf("receivers = %+v %v", all, err)
	}
}

// errors are typed, as the client has them.
func (f foreigner) errors(says, holds *a2aclient.Client, done, canceled *protocol.Task) {
	again := saying("x")
	again.Message.TaskID, again.Message.ContextID = done.ID, done.ContextID
	modes := saying("x")
	modes.Config = &protocol.SendMessageConfig{AcceptedOutputModes: []string{"image/png"}}
	stream := protocol.ErrTaskNotFound
	if f.binding == protocol.TransportProtocolJSONRPC {
		stream = nil
	}
	for _, tt := range []struct {
		name string
		want error
		do   func(context.Context) error
	}{
		{"an unknown task", protocol.ErrTaskNotFound, func(ctx context.Context) error {
			_, err := says.GetTask(ctx, &protocol.GetTaskRequest{ID: unknownTask})
			return err
		}},
		{"a canceled task", protocol.ErrTaskNotCancelable, func(ctx context.Context) error {
			_, err := holds.CancelTask(ctx, &protocol.CancelTaskRequest{ID: canceled.ID})
			return err
		}},
		{"a finished task", protocol.ErrUnsupportedOperation, func(ctx context.Context) error { _, err := says.SendMessage(ctx, again); return err }},
		{"modes of nobody", protocol.ErrUnsupportedContentType, func(ctx context.Context) error { _, err := says.SendMessage(ctx, modes); return err }},
		{"a stream of nothing", stream, func(ctx context.Context) error {
			for _, err := range says.SubscribeToTask(ctx, &protocol.SubscribeToTaskRequest{ID: unknownTask}) {
				return err
			}
			return nil
		}},
	} {
		err := tt.do(f.Context())
		if err != nil && tt.want == nil {
			continue // over JSON-RPC this client has no types for errors of streams
		}
		if !errors.Is(err, tt.want) {
			f.Errorf("%s: %v", tt.name, err)
		}
	}
}
