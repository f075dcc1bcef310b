package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Info is an agent that answers on NATS.
type Info struct {
	ID          string `json:"id"` // of the instance
	Agent       string `json:"agent"`
	Owner       string `json:"owner"`
	Name        string `json:"name"` // the last token of its subject
	Session     string `json:"session,omitempty"`
	Version     string `json:"version"`
	Protocol    string `json:"protocol_version"`
	Description string `json:"description,omitempty"`

	PromptSubject string `json:"prompt_subject"`
	MaxPayload    int64  `json:"max_payload"` // bytes
	Attachments   bool   `json:"attachments_ok"`
	MinTrust      string `json:"min_sender_trust,omitempty"`

	Faults []string `json:"faults,omitempty"` // what is not as the protocol says
	Checks []Check  `json:"-"`                // all that was looked at

	statusSubject string
}

// Speaks reports whether the agent speaks our version of the protocol.
func (i Info) Speaks() bool {
	return i.Protocol == Version || strings.HasPrefix(i.Protocol, Version+".")
}

// maxFound is how many agents are read.
const maxFound = 10_000

// Discover lists the agents that answer within a time, sorted.
func (c *Conn) Discover(ctx context.Context, within time.Duration) ([]Info, error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("discover agents: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest("$SRV.INFO."+serviceName, inbox, nil); err != nil {
		return nil, fmt.Errorf("discover agents: %w", err)
	}
	window, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var all []Info
	for len(all) < maxFound {
		msg, err := sub.NextMsgWithContext(window)
		if err != nil {
			break
		}
		if msg.Header.Get("Status") == "503" {
			break // nobody is there
		}
		var info micro.Info
		if json.Unmarshal(msg.Data, &info) == nil && info.Name == serviceName {
			all = append(all, infoOf(info))
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Info) int {
		return strings.Compare(a.PromptSubject+" "+a.ID, b.PromptSubject+" "+b.ID)
	})
	return all, nil
}

// Beats calls f with each heartbeat until stop is called.
func (c *Conn) Beats(f func(Beat)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(prefix+"hb.>", func(msg *nats.Msg) {
		var b Beat
		if json.Unmarshal(msg.Data, &b) == nil {
			f(b)
		}
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Chunk is a part of an answer.
type Chunk struct {
	Type        string       // status, response, query, or one that is not known
	Text        string       // of a status or a response
	Attachments []Attachment // of a response or a query
	Query       *Query
}

// Query is what an agent asks its caller. Answer it once.
type Query struct {
	ID     string
	Prompt string
	answer func(*Request) error
}

// Answer answers.
func (q *Query) Answer(r *Request) error { return q.answer(r) }

// Errors of a prompt that has no answer.
var (
	ErrNobody = errors.New("no agent listens there") // it has not begun
	ErrSilent = errors.New("the agent says nothing any longer")
	ErrLost   = errors.New("the connection to NATS was lost")
)

// Ask sends a prompt and calls f with each chunk of its answer, until it ends. silence
// is how long none may come. The error is an [*Error] of the agent, one of the errors
// above, that of f, or that of ctx. sign makes the header that says who sends; nil:
// none.
func (c *Conn) Ask(ctx context.Context, subject string, r *Request, silence time.Duration, sign func(subject string, payload []byte) (string, error), f func(Chunk) error) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(subject)
	msg.Data = body
	if sign != nil {
		who, err := sign(subject, body)
		if err != nil {
			return err
		}
		msg.Header.Set(senderHeader, who)
	}
	msg.Reply = c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(msg.Reply)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNobody, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishMsg(msg); err != nil {
		return fmt.Errorf("%w: %w", ErrNobody, err)
	}
	return c.hear(ctx, sub, silence, f)
}

// hear reads an answer.
func (c *Conn) hear(ctx context.Context, sub *nats.Subscription, silence time.Duration, f func(Chunk) error) error {
	cut := c.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	go func() {
		select {
		case <-cut:
			lost(ErrLost)
		case <-ctx.Done():
		}
	}()
	var failed error
	total := int64(0)
	for {
		window, cancel := context.WithTimeout(ctx, silence)
		msg, err := sub.NextMsgWithContext(window)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			return ErrSilent
		case err != nil:
			return fmt.Errorf("%w: %w", ErrLost, err)
		case msg.Header.Get("Status") == "503" && len(msg.Data) == 0:
			return ErrNobody
		case len(msg.Data) == 0 && len(msg.Header) == 0:
			return failed
		case msg.Header.Get(micro.ErrorCodeHeader) != "":
			failed = errorOf(msg)
			continue
		}
		if total += int64(len(msg.Data)); total > maxTotal {
			return &Error{Code: 500, Name: "too_large", Message: fmt.Sprintf("the answer is over %d bytes", maxTotal)}
		}
		if ch, ok := c.chunkOf(msg.Data); ok {
			if err := f(ch); err != nil {
				return err
			}
		}
	}
}

// errorOf reads the error of an agent.
func errorOf(msg *nats.Msg) *Error {
	e := &Error{Message: msg.Header.Get(micro.ErrorHeader)}
	e.Code, _ = strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader))
	var body struct {
		Error      string  `json:"error"`
		Message    string  `json:"message"`
		RetryAfter float64 `json:"retry_after_s"`
	}
	if json.Unmarshal(msg.Data, &body) == nil {
		e.Name = body.Error
		if body.Message != "" {
			e.Message = body.Message
		}
		e.RetryAfter = time.Duration(min(max(body.RetryAfter, 0), 3600) * float64(time.Second))
	}
	return e
}

// chunkOf reads a chunk; ok is false of what is none.
func (c *Conn) chunkOf(raw []byte) (ch Chunk, ok bool) {
	var w chunk
	if json.Unmarshal(raw, &w) != nil {
		return ch, false
	}
	ch.Type = w.Type
	switch w.Type {
	case "status":
		return ch, json.Unmarshal(w.Data, &ch.Text) == nil
	case "response":
		if json.Unmarshal(w.Data, &ch.Text) == nil {
			return ch, true
		}
		var more struct {
			Text        string       `json:"text"`
			Attachments []Attachment `json:"attachments"`
		}
		ok = json.Unmarshal(w.Data, &more) == nil
		ch.Text = more.Text
		for _, a := range more.Attachments[:min(len(more.Attachments), MaxAttachments)] {
			if name, err := cleanName(a.Filename); err == nil {
				ch.Attachments = append(ch.Attachments, Attachment{name, a.Content})
			}
		}
		return ch, ok
	case "query":
		var q queryData
		if json.Unmarshal(w.Data, &q) != nil || !c.sendable(q.ReplySubject) {
			return ch, false
		}
		ch.Attachments = q.Attachments
		ch.Query = &Query{ID: q.ID, Prompt: q.Prompt, answer: func(r *Request) error {
			body, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return c.nc.Publish(q.ReplySubject, body)
		}}
		return ch, true
	}
	return ch, true
}
