package a2a

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"agentmesh/shared/task"
)

// reply writes the answer to one request in the form of its binding.
type reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	rpc     bool
	id      json.RawMessage // of a JSON-RPC request
	media   string
	old     *oldForm // of A2A 0.3; nil: of 1.0
	streams bool     // the answer is a stream, if it is no error
	begun   bool     // the header is out
}

// answered is the envelope of JSON-RPC.
type answered struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   any             `json:"error,omitempty"`
}

type rpcError struct {
	Code    int      `json:"code"`
	Message string   `json:"message"`
	Data    []detail `json:"data"`
}

type restError struct {
	Error struct {
		Code    int      `json:"code"`
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Details []detail `json:"details"`
	} `json:"error"`
}

// wrap puts a result into the envelope of the binding.
func (p *reply) wrap(v any) any {
	if p.old != nil {
		v = p.old.write(v)
	}
	if p.rpc {
		return answered{Version: "2.0", ID: p.id, Result: v}
	}
	return v
}

func (p *reply) result(v any) { p.send(http.StatusOK, p.wrap(v)) }

func (p *reply) fail(f failure) {
	status := f.status
	var body any
	if p.rpc {
		switch {
		case f.httpOnly:
		case !p.streams:
			status = http.StatusOK
		case status < 500: // clients read no error behind a 200 that is no stream
			status = http.StatusBadRequest
		}
		body = answered{Version: "2.0", ID: p.id, Error: rpcError{f.code, f.message, f.details()}}
	} else if p.old != nil {
		body = rpcError{f.code, f.message, f.details()}
	} else {
		e := restError{}
		e.Error.Code, e.Error.Status, e.Error.Message, e.Error.Details = f.status, f.grpc, f.message, f.details()
		body = e
	}
	if p.begun && p.streams {
		_ = p.frame(body)
		return
	}
	if f.retryAfter > 0 && !p.begun {
		p.w.Header().Set("Retry-After", strconv.Itoa(int((f.retryAfter+time.Second-1)/time.Second)))
	}
	p.send(status, body)
}

func (p *reply) send(status int, v any) {
	b, err := task.Marshal(v)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.header(status, p.media)
	_, _ = p.w.Write(b)
}

func (p *reply) header(status int, media string) {
	if p.begun {
		return
	}
	p.begun = true
	p.w.Header().Set("Content-Type", media)
	p.w.WriteHeader(status)
}

// beat tells who waits that the answer is to come: JSON may begin with white space,
// and a stream with a comment.
func (p *reply) beat() error {
	sign := "\n"
	if p.streams {
		sign = ": keep-alive\n\n"
	} else {
		p.w.Header().Set("Cache-Control", "no-store")
		p.header(http.StatusOK, p.media)
	}
	if _, err := p.w.Write([]byte(sign)); err != nil {
		return err
	}
	return p.control.Flush()
}

// event sends one event of a stream.
func (p *reply) event(v any) error { return p.frame(p.wrap(v)) }

func (p *reply) frame(v any) error {
	b, err := task.Marshal(v)
	if err != nil {
		return err
	}
	if !p.begun {
		p.w.Header().Set("Cache-Control", "no-store")
		p.w.Header().Set("X-Accel-Buffering", "no")
		p.header(http.StatusOK, "text/event-stream")
	}
	if _, err := p.w.Write(append(append([]byte("data: "), b...), "\n\n"...)); err != nil {
		return err
	}
	return p.control.Flush()
}
