package protocol

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentmesh/shared/schema"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// durableTypes are those of messages that are kept. They are messages of agents
// that keep steps, and text of any other.
var durableTypes = []string{
	string(agent.LineStep), string(agent.LineStarted), string(agent.LineCheckpoint),
	string(agent.LineSleep), string(agent.LineAsk), string(agent.LineWait),
}

var allTypes = slices.Concat(types, durableTypes)

// durable is a message that is kept.
type durable struct {
	agent.Line
	counted bool   // it says its n
	said    string // how an error names it
}

// Bounds of a durable message.
const (
	maxStepName = 128      // bytes
	maxPrompt   = 4 << 10  // bytes
	maxSchema   = 64 << 10 // bytes
	maxWait     = 366 * 24 * 60 * 60 * time.Second
)

// Answer takes one message that did not come as a line of output. What it says is
// durable when Answer returns the word for the agent. The error is an *agent.Error.
func (b *Book) Answer(ctx context.Context, line []byte) ([]byte, error) {
	m, ok, err := parse(line, durableTypes)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, bad("%s is none of the messages %s", task.Clip(string(line), maxShown), strings.Join(durableTypes, ", "))
	}
	ack, _, err := b.take(ctx, m)
	if err != nil {
		return nil, err
	}
	return task.Marshal(ack)
}

// take keeps what a message says; wanted tells that the agent asks for the word.
func (b *Book) take(ctx context.Context, m message) (ack Ack, wanted bool, err error) {
	d, err := m.durable()
	if limit := int(cmp.Or(b.job.MaxResult, agent.DefaultMaxResult)); err == nil && len(d.Value) > limit {
		err = tooLarge("the value of a "+m.kind+" message", limit)
	}
	if err == nil {
		ack, err = b.keep(ctx, d)
	}
	return ack, d.Ack, err
}

// durable reads a message that is kept. Whatever is wrong with it is a fault: the
// agent would go on as if it were kept.
func (m message) durable() (d durable, err error) {
	d = durable{Line: agent.Line{Kind: agent.LineKind(m.kind), Value: m.fields["value"]}, said: "the " + m.kind + " message " + m.clip()}
	f := &fields{m: m, said: d.said}
	if d.Kind != agent.LineCheckpoint {
		d.Name = f.name()
		d.N, d.counted = f.count("n")
	}
	f.read("ack", "true or false", &d.Ack)
	switch d.Kind {
	case agent.LineStep:
		f.step(&d.Line)
	case agent.LineCheckpoint:
		f.need("value", d.Value != nil)
	case agent.LineSleep:
		f.sleep(&d.Line)
	case agent.LineAsk:
		f.read("prompt", "a text", &d.Prompt)
		f.within("prompt", len(d.Prompt), maxPrompt)
		d.Schema = f.schema()
		d.Timeout = f.duration("timeout")
	case agent.LineWait:
		d.Timeout = f.duration("timeout")
	}
	if f.err == nil && d.Value != nil {
		if d.Value, err = task.Normal(d.Value); err != nil {
			f.fault(`has a "value" that cannot be kept: %v`, err)
		}
	}
	return d, f.err
}

// fields reads the members of a durable message and keeps the first fault.
type fields struct {
	m    message
	said string
	err  error
}

func (f *fields) fault(format string, args ...any) {
	if f.err == nil {
		f.err = bad("%s "+format, append([]any{f.said}, args...)...)
	}
}

func (f *fields) has(name string) bool {
	raw := f.m.fields[name]
	return raw != nil && string(raw) != "null"
}

func (f *fields) need(name string, there bool) {
	if !there {
		f.fault("has no %q", name)
	}
}

// read reads a member that may be left out.
func (f *fields) read(name, what string, to any) {
	if f.has(name) && json.Unmarshal(f.m.fields[name], to) != nil {
		f.fault("has a %q that is not %s", name, what)
	}
}

func (f *fields) within(name string, n, limit int) {
	if n > limit {
		f.fault("has a %q of %d bytes, allowed are %d", name, n, limit)
	}
}

func (f *fields) name() (name string) {
	f.read("name", "a text", &name)
	f.need("name", name != "")
	f.within("name", len(name), maxStepName)
	if !utf8.ValidString(name) {
		f.fault(`has a "name" that is no UTF-8`)
	}
	return name
}

func (f *fields) count(name string) (n int, there bool) {
	if !f.has(name) {
		return 0, false
	}
	n, err := strconv.Atoi(string(f.m.fields[name]))
	if err != nil || n < 0 || n >= maxOccurrences {
		f.fault("has a %q that is no whole number from 0 to %d", name, maxOccurrences-1)
	}
	return n, true
}

// step reads what came of a step: a value, which may be null, or a failure.
func (f *fields) step(l *agent.Line) {
	if f.has("key") {
		l.Key = keyOf(f.m.fields["key"])
	}
	if !f.has("error") {
		if l.Value == nil {
			f.fault(`has neither "value" nor "error"; a step without a value has null`)
		}
		return
	}
	if l.Value != nil && string(l.Value) != "null" {
		f.fault(`has both "value" and "error"`)
	}
	l.Value = nil
	e := agent.LineError{Code: task.CodeAgentError}
	if raw := f.m.fields["error"]; json.Unmarshal(raw, &e.Message) != nil {
		if json.Unmarshal(raw, &e) != nil {
			f.fault(`has an "error" that is neither a text nor {"code":"..","message":".."}`)
		}
	}
	if e.Message == "" {
		f.fault(`has an "error" without a message`)
	}
	e.Message = task.Cut(e.Message, maxPrompt)
	l.Error = &e
}

// keyOf is the hash of what a step depends on, as [task.StepKey].
func keyOf(raw json.RawMessage) string {
	if normal, err := task.Normal(raw); err == nil {
		raw = normal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func (f *fields) sleep(l *agent.Line) {
	l.For = f.duration("for")
	f.read("until", "a time such as 2026-05-19T10:30:00Z", &l.Until)
	switch {
	case f.has("for") == f.has("until"):
		f.fault(`needs either "for" or "until"`)
	case f.has("until") && l.Until.IsZero():
		f.fault(`has an "until" that is no time`)
	}
}

// duration reads a text such as 24h; a number is seconds.
func (f *fields) duration(name string) time.Duration {
	if !f.has(name) {
		return 0
	}
	var text string
	var seconds float64
	raw := f.m.fields[name]
	d, err := time.Duration(0), json.Unmarshal(raw, &text)
	switch {
	case err == nil:
		d, err = time.ParseDuration(text)
	case json.Unmarshal(raw, &seconds) == nil && seconds < maxWait.Seconds():
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d <= 0 || d > maxWait {
		f.fault("has a %q that is no duration such as 90s or 24h, at most %.0fh", name, maxWait.Hours())
		return 0
	}
	return d
}

func (f *fields) schema() json.RawMessage {
	if !f.has("schema") {
		return nil
	}
	raw := f.m.fields["schema"]
	f.within("schema", len(raw), maxSchema)
	if f.err == nil {
		if _, err := schema.Compile(raw); err != nil {
			f.fault("has a \"schema\" that is no JSON Schema: %v", err)
		}
	}
	return raw
}
