package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
)

// Conn is a connection for the protocol, and for nothing else: services replace its
// handlers.
type Conn struct {
	nc     *nats.Conn
	inbox  string // where answers to others may go, besides _INBOX.
	nonces Nonces
}

// New makes one of a connection. inbox is a prefix that callers use besides _INBOX.,
// empty: none.
func New(nc *nats.Conn, inbox string) *Conn { return &Conn{nc: nc, inbox: inbox} }

// Close closes the connection.
func (c *Conn) Close() { c.nc.Close() }

// Place names the server for people, without secrets.
func (c *Conn) Place() string { return c.nc.ConnectedUrlRedacted() }

// MaxPayload is the size of a message that a service may announce, in bytes.
func (c *Conn) MaxPayload() int64 { return min(c.nc.MaxPayload(), 1<<20) }

// sendable reports whether somebody may be sent an answer at a subject: callers must
// not have us publish where they may not.
func (c *Conn) sendable(subject string) bool {
	if strings.ContainsAny(subject, "*> \t\r\n") {
		return false
	}
	return strings.HasPrefix(subject, "_INBOX.") || c.inbox != "" && strings.HasPrefix(subject, strings.TrimSuffix(c.inbox, ".")+".")
}

// Spec describes an agent that is served.
type Spec struct {
	Agent, Owner, Name   string
	Description, Version string
	MinTrust             string        // any or signed; empty: not said
	Beat                 time.Duration // 0: BeatEvery
}

// Service is an agent that is served.
type Service struct {
	conn    *Conn
	spec    Spec
	service micro.Service
}

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$`)

// Serve has an agent be found, and calls prompt with each prompt, one at a time: it
// must return soon.
func (c *Conn) Serve(spec Spec, prompt func(*Prompt)) (*Service, error) {
	if spec.Beat <= 0 {
		spec.Beat = BeatEvery
	}
	if !semver.MatchString(spec.Version) {
		spec.Version = "0.0.0-dev"
	}
	s := &Service{conn: c, spec: spec}
	service, err := micro.AddService(c.nc, micro.Config{
		Name: serviceName, Version: spec.Version, Description: spec.Description, QueueGroup: serviceName,
		Metadata: map[string]string{"agent": spec.Agent, "owner": spec.Owner, "protocol_version": Version},
	})
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", spec.Name, err)
	}
	s.service = service
	about := map[string]string{"max_payload": formatSize(c.MaxPayload()), "attachments_ok": "true"}
	if spec.MinTrust != "" {
		about["min_sender_trust"] = spec.MinTrust
	}
	err = service.AddEndpoint(promptName, micro.HandlerFunc(func(r micro.Request) { s.prompt(r, prompt) }),
		micro.WithEndpointSubject(PromptSubject(spec.Agent, spec.Owner, spec.Name)), micro.WithEndpointQueueGroup(serviceName), micro.WithEndpointMetadata(about))
	if err == nil {
		err = service.AddEndpoint(statusName, micro.HandlerFunc(func(r micro.Request) { _ = r.RespondJSON(s.beat()) }),
			micro.WithEndpointSubject(statusSubject(spec.Agent, spec.Owner, spec.Name)), micro.WithEndpointQueueGroup(serviceName))
	}
	if err == nil {
		err = c.nc.Flush() // found before it is heard of
	}
	if err != nil {
		_ = service.Stop()
		return nil, fmt.Errorf("serve %s: %w", spec.Name, err)
	}
	return s, nil
}

// Stop has the agent not be found any longer. Prompts that have come go on.
func (s *Service) Stop() { _ = s.service.Stop() }

// Beat tells that the service lives.
func (s *Service) Beat() {
	if raw, err := json.Marshal(s.beat()); err == nil {
		_ = s.conn.nc.Publish(beatSubject(s.spec.Agent, s.spec.Owner, s.spec.Name), raw)
	}
}

func (s *Service) beat() Beat {
	return Beat{Agent: s.spec.Agent, Owner: s.spec.Owner, InstanceID: s.service.Info().ID, Time: time.Now().UTC().Truncate(time.Second), Interval: int(s.spec.Beat / time.Second)}
}

// prompt takes one that has come. What can be said of it without its task is said here.
func (s *Service) prompt(r micro.Request, handle func(*Prompt)) {
	p := &Prompt{conn: s.conn, reply: r.Reply(), Header: r.Headers().Get}
	if !s.conn.sendable(p.reply) {
		return // nobody hears, or somebody who should not
	}
	if size := int64(len(r.Data())) + headerSize(nats.Header(r.Headers())); size > s.conn.MaxPayload() {
		p.Fail(&Error{Code: 400, Name: "too_large", Message: fmt.Sprintf("The message has %d bytes, allowed are %s.", size, formatSize(s.conn.MaxPayload()))})
		return
	}
	var err error
	p.Sender, err = s.conn.nonces.Check(r.Headers().Get(senderHeader), r.Subject(), r.Data(), time.Now())
	if err == nil && s.spec.MinTrust == "signed" && p.Sender.Class != Verified {
		err = &Error{Code: 401, Name: "unauthorized", Message: "This agent takes signed prompts only: send the header " + senderHeader + "."}
	}
	if err == nil {
		p.Request, err = ParseRequest(r.Data())
	}
	if err != nil {
		p.fail(err)
		return
	}
	handle(p)
}

func headerSize(h nats.Header) (n int64) {
	if len(h) == 0 {
		return 0
	}
	n = int64(len("NATS/1.0\r\n\r\n"))
	for k, all := range h {
		for _, v := range all {
			n += int64(len(k) + len(v) + 4)
		}
	}
	return n
}

// Prompt is a prompt that has come, and the way of its answer. It is safe for
// concurrent use; what is said after the end is not sent.
type Prompt struct {
	*Request
	Sender Sender
	Header func(name string) string

	conn  *Conn
	reply string

	mu    sync.Mutex
	sent  int64
	ended bool
}

// ErrEnded says that the prompt has been answered, or that the answer has no room for
// more.
var ErrEnded = errors.New("the answer to the prompt has ended")

// Ack tells that the prompt was taken, and later that somebody is there.
func (p *Prompt) Ack() error { return p.Status("ack") }

// Status tells how it goes.
func (p *Prompt) Status(text string) error { return p.Chunk("status", text) }

// Chunk sends a chunk of a type; others pass over those that they do not know.
func (p *Prompt) Chunk(kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	body, err := json.Marshal(chunk{kind, raw})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent += int64(len(body)); p.ended || p.sent > maxTotal {
		return ErrEnded
	}
	return p.conn.nc.Publish(p.reply, body)
}

// Response sends a part of the answer, in as many chunks as it takes.
func (p *Prompt) Response(text string) error {
	room := int(p.conn.MaxPayload() / 8) // a character may need six bytes
	for text != "" {
		n := min(len(text), room)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		if err := p.Chunk("response", text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// Fits reports whether a file can be sent as an attachment.
func (p *Prompt) Fits(a Attachment) bool {
	return int64(len(a.Content))*4/3+4<<10 < p.conn.MaxPayload()
}

// Attach sends a file.
func (p *Prompt) Attach(a Attachment) error {
	return p.Chunk("response", map[string]any{"text": "", "attachments": []Attachment{a}})
}

// AnswerInbox begins the subjects at which callers answer queries: no inbox of a user
// of the mesh, so that who may answer may send nothing else there.
const AnswerInbox = "_INBOX.agents."

// Query asks the caller something, and waits for the answer until ctx ends.
func (p *Prompt) Query(ctx context.Context, id, prompt string) (*Request, error) {
	to := AnswerInbox + nuid.Next()
	sub, err := p.conn.nc.SubscribeSync(to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := p.Chunk("query", queryData{ID: id, ReplySubject: to, Prompt: prompt}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queriesFor)
	defer cancel()
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		if r, err := ParseRequest(msg.Data); err == nil {
			return r, nil
		}
	}
}

func (p *Prompt) fail(err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: 500, Name: "internal", Message: "The agent has a fault of its own."}
	}
	p.Fail(e)
}

// Fail ends the answer with an error.
func (p *Prompt) Fail(e *Error) {
	body := map[string]any{"error": e.Name, "message": e.Message}
	if e.RetryAfter > 0 {
		body["retry_after_s"] = int((e.RetryAfter + time.Second - 1) / time.Second)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		raw = nil
	}
	msg := nats.NewMsg(p.reply)
	msg.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(e.Code))
	msg.Header.Set(micro.ErrorHeader, headerText(e.Message))
	msg.Data = raw
	p.finish(msg)
}

// headerText is a text that may stand in a header.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 1<<10)]
}

// End ends the answer.
func (p *Prompt) End() { p.finish(nil) }

// finish is the one place where an answer ends: after the last word an empty message
// without headers, once.
func (p *Prompt) finish(last *nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	if last != nil {
		_ = p.conn.nc.PublishMsg(last)
	}
	_ = p.conn.nc.Publish(p.reply, nil)
}
