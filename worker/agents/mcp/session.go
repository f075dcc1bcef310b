package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/worker/agent"
)

// modern is the version from which requests stand alone, and tasks are known.
const modern = "2026-07-28"

// tasksExtension names the extension by which a call may be answered with a task.
const tasksExtension = "io.modelcontextprotocol/tasks"

// session is one connection to the server and the calls on it.
type session struct {
	client *sdk.ClientSession
	stop   func() // ends the program behind it
	piped  bool   // there is a program

	mu      sync.Mutex
	version string           // that was agreed on
	calls   map[string]*held // by progress token
	made    int              // calls
	uses    int
	idle    *time.Timer
	done    bool
}

// held is a call that waits for its answer.
type held struct {
	call  Call
	ended chan struct{}   // closed when nobody waits for the call any longer
	asked chan []Question // what a server of an older version asks meanwhile
}

// try does something on the session, once more on a new one where the old one was
// broken before anything had left.
func (c *Client) try(ctx context.Context, f func(context.Context, *session) error) error {
	for again := true; ; again = false {
		s, old, err := c.session(ctx)
		if err != nil {
			return err
		}
		p, err := c.once(ctx, s, f)
		if err == nil {
			return nil
		}
		var ours *agent.Error
		gone := errors.Is(err, sdk.ErrSessionMissing)
		if ctx.Err() == nil && (gone || wordOf(err) == nil && !errors.As(err, &ours)) {
			c.drop(s) // the SDK goes on with connections that are broken
		}
		if again && old && ctx.Err() == nil && (gone || !p.sent.Load()) {
			continue
		}
		return c.fault(ctx, err, p)
	}
}

// once does something on a session.
func (c *Client) once(ctx context.Context, s *session, f func(context.Context, *session) error) (*probe, error) {
	defer c.release(s)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // nobody reads an answer that comes later
	ctx, p := probing(ctx)
	return p, f(ctx, s)
}

// session is the open one, or a new one; old says which. It is released by release.
func (c *Client) session(ctx context.Context) (s *session, old bool, err error) {
	if s, err := c.take(); s != nil || err != nil {
		return s, true, err
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	if s, err := c.take(); s != nil || err != nil {
		return s, true, err
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	ctx, p := probing(ctx)
	s, err = c.connect(ctx)
	if err != nil {
		p.sent.Store(false) // no call has begun
		return nil, false, c.fault(ctx, err, p)
	}
	s.uses = 1
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go s.close()
		return nil, false, errClosed
	}
	c.open = s
	return s, false, nil
}

var errClosed = errors.New("the MCP client is closed")

// take takes the open session, nil when there is none.
func (c *Client) take() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	s := c.open
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	return s, nil
}

// release gives a session back. One that nobody uses for long is closed.
func (c *Client) release(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses--; s.uses == 0 && !s.done {
		s.idle = time.AfterFunc(idleAfter, func() { c.rest(s) })
	}
}

// rest closes a session that is idle.
func (c *Client) rest(s *session) {
	c.mu.Lock()
	s.mu.Lock()
	idle := s.uses == 0 && c.open == s
	if idle {
		c.open = nil
	}
	s.mu.Unlock()
	c.mu.Unlock()
	if idle {
		s.close()
	}
}

// drop has the next call open a session of its own.
func (c *Client) drop(s *session) {
	c.mu.Lock()
	if c.open == s {
		c.open, c.listed = nil, time.Time{}
	}
	c.mu.Unlock()
	go s.close()
}

func (s *session) close() {
	s.mu.Lock()
	done := s.done
	s.done = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	if done {
		return
	}
	_ = s.client.Close()
	s.stop()
}

// connect opens a session.
func (c *Client) connect(ctx context.Context) (*session, error) {
	s := &session{calls: map[string]*held{}, stop: func() {}}
	capabilities := &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{Form: &sdk.FormElicitationCapabilities{}}}
	capabilities.AddExtension(tasksExtension, nil)
	client := sdk.NewClient(&sdk.Implementation{Name: "agentmesh", Version: c.o.Version}, &sdk.ClientOptions{
		Capabilities:           capabilities,
		MultiRoundTrip:         &sdk.MultiRoundTripOptions{Disabled: true},
		ElicitationHandler:     s.elicit,
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { c.changed() },
	})
	for _, add := range []error{
		sdk.AddSendingCustomMethod[*taskParams, *rawResult](client, "tasks/get"),
		sdk.AddSendingCustomMethod[*taskParams, *rawResult](client, "tasks/update"),
		sdk.AddSendingCustomMethod[*taskParams, *rawResult](client, "tasks/cancel"),
	} {
		if add != nil {
			return nil, add
		}
	}
	inner, err := c.transport(s)
	if err != nil {
		return nil, err
	}
	s.client, err = client.Connect(ctx, &spy{Transport: inner, s: s}, nil)
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// agreed is the version of the protocol that both speak, empty before that.
func (s *session) agreed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// spy reads the results of calls as they come: the SDK makes nothing of a task for an
// answer, and of numbers less than they are.
type spy struct {
	sdk.Transport
	s *session
}

// Connect implements sdk.Transport.
func (t *spy) Connect(ctx context.Context) (sdk.Connection, error) {
	conn, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &spied{Connection: conn, s: t.s, asked: map[jsonrpc.ID]string{}}, nil
}

type spied struct {
	sdk.Connection
	s *session

	mu    sync.Mutex
	asked map[jsonrpc.ID]string // the method of a request
}

// Write implements sdk.Connection.
func (c *spied) Write(ctx context.Context, msg jsonrpc.Message) error {
	req, ok := msg.(*jsonrpc.Request)
	if !ok || !req.IsCall() {
		return c.Connection.Write(ctx, msg)
	}
	c.mu.Lock()
	c.asked[req.ID] = req.Method
	c.mu.Unlock()
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asked, req.ID)
	})
	p := probeOf(ctx)
	p.sent.Store(true)
	err := c.Connection.Write(ctx, msg)
	if err != nil && c.s.piped {
		p.sent.Store(false) // half a line is no request
	}
	return err
}

// Read implements sdk.Connection.
func (c *spied) Read(ctx context.Context) (jsonrpc.Message, error) {
	msg, err := c.Connection.Read(ctx)
	if req, ok := msg.(*jsonrpc.Request); ok && err == nil && req.Method == "notifications/progress" {
		c.s.progress(req.Params) // here, since the SDK may pass the result on first
	}
	resp, ok := msg.(*jsonrpc.Response)
	if err != nil || !ok {
		return msg, err
	}
	c.mu.Lock()
	method := c.asked[resp.ID]
	delete(c.asked, resp.ID)
	c.mu.Unlock()
	if resp.Error != nil || len(resp.Result) == 0 {
		return msg, nil
	}
	switch {
	case method == "initialize":
		c.agree(resp.Result)
	case method == "tools/call", strings.HasPrefix(method, "tasks/"):
		wrapped, err := json.Marshal(map[string]any{"content": []any{}, "_meta": map[string]any{metaRaw: string(resp.Result)}})
		if err != nil {
			return nil, err
		}
		resp.Result = wrapped
	}
	return msg, nil
}

func (c *spied) agree(result json.RawMessage) {
	var r struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	_ = json.Unmarshal(result, &r)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.version = r.ProtocolVersion
}

// metaRaw has a result as it came.
const metaRaw = "mesh/raw"

// rawResult is a result of which only the raw form is read.
type rawResult struct{ sdk.ResultBase }

func rawOf(meta map[string]any) json.RawMessage {
	text, _ := meta[metaRaw].(string)
	return json.RawMessage(text)
}

// taskParams are those of the methods of the tasks extension.
type taskParams struct {
	sdk.ParamsBase
	TaskID         string               `json:"taskId"`
	InputResponses sdk.InputResponseMap `json:"inputResponses,omitempty"`
}
