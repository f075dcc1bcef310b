package synadia

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Check is one thing that the protocol asks of an agent, and what there is.
type Check struct {
	At   string
	Says string
	OK   bool
	Left bool // it was not looked at
}

// checks are rows that grow.
type checks []Check

// of adds a row: good where holds is true, else the fault.
func (c *checks) of(at string, holds bool, good, fault string) {
	says := good
	if !holds {
		says = fault
	}
	*c = append(*c, Check{At: at, Says: says, OK: holds})
}

// left adds a row of what was not looked at.
func (c *checks) left(at, format string, args ...any) {
	*c = append(*c, Check{At: at, Says: fmt.Sprintf(format, args...), Left: true})
}

// infoOf reads what a service says of itself, and notes what is wrong with it.
func infoOf(info micro.Info) Info {
	i := Info{
		ID: info.ID, Agent: info.Metadata["agent"], Owner: info.Metadata["owner"], Session: info.Metadata["session"],
		Version: info.Version, Protocol: info.Metadata["protocol_version"], Description: info.Description,
	}
	var all checks
	all.of("protocol_version", i.Speaks(), i.Protocol, fmt.Sprintf("it is %q, this mesh speaks %s", i.Protocol, Version))
	for _, t := range []struct{ name, value string }{{"agent", i.Agent}, {"owner", i.Owner}} {
		all.of(t.name, ValidToken(t.value), t.value, fmt.Sprintf("it is %q, it must match %s", t.value, token))
	}
	all.of("version", semver.MatchString(i.Version), i.Version, fmt.Sprintf("it is %q, it must be a semantic version", i.Version))
	for _, e := range info.Endpoints {
		if e.Name != promptName && e.Name != statusName {
			continue
		}
		all.of(e.Name, e.QueueGroup == serviceName, e.Subject, fmt.Sprintf("its queue group is %q, it must be %s: else each prompt is answered by every instance", e.QueueGroup, serviceName))
		if e.Name == statusName {
			i.statusSubject = e.Subject
			continue
		}
		i.PromptSubject, i.Name = e.Subject, e.Subject[strings.LastIndexByte(e.Subject, '.')+1:]
		i.MaxPayload, i.Attachments, i.MinTrust = parseSize(e.Metadata["max_payload"]), e.Metadata["attachments_ok"] == "true", e.Metadata["min_sender_trust"]
		all.of("max_payload", i.MaxPayload > 0, e.Metadata["max_payload"], fmt.Sprintf("it is %q, it must be like 1MB", e.Metadata["max_payload"]))
		ok := e.Metadata["attachments_ok"]
		all.of("attachments_ok", ok == "true" || ok == "false", ok, fmt.Sprintf("it is %q, it must be true or false", ok))
		if i.MinTrust != "" {
			all.of("min_sender_trust", i.MinTrust == "any" || i.MinTrust == "signed", i.MinTrust, fmt.Sprintf("it is %q, it must be any or signed", i.MinTrust))
		}
	}
	if i.PromptSubject == "" {
		all.of(promptName, false, "", "there is no endpoint of this name")
	}
	if i.statusSubject == "" {
		all.of(statusName, false, "", "there is no endpoint of this name")
	}
	i.Checks = all
	for _, c := range all {
		if !c.OK {
			i.Faults = append(i.Faults, c.At+": "+c.Says)
		}
	}
	return i
}

// Times of a probe.
const (
	answersIn  = 2 * time.Second
	clockApart = 30 * time.Second
)

// probe asks one agent.
type probe struct {
	*Conn
	Info
	checks checks
}

// Probe asks an agent for what costs it nothing: whether it lives, and whether it refuses
// an empty prompt as it must. wait is how long a heartbeat is waited for, 0: it is not.
// Where an agent says that it is reached at subjects that are not of agents, nothing is
// sent there.
func (c *Conn) Probe(ctx context.Context, i Info, wait time.Duration) []Check {
	p := &probe{Conn: c, Info: i}
	p.ping(ctx)
	if i.statusSubject != "" {
		p.status(ctx)
	}
	if i.PromptSubject != "" {
		p.empty(ctx)
	}
	p.heartbeat(ctx, wait)
	return p.checks
}

// ofAgents reports whether a subject is one of agents, and only one.
func ofAgents(subject string) bool {
	return strings.HasPrefix(subject, prefix) && !strings.ContainsAny(subject, "*> \t\r\n")
}

const elsewhere = "nothing was sent to %q, which is no subject of agents.>: the agent says so, and who knows what listens there"

// ask makes one request with an empty body.
func (p *probe) ask(ctx context.Context, subject string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	msg, err := p.nc.RequestWithContext(ctx, subject, nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, errors.New("nobody listens at " + subject)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("there is no answer within %v", answersIn)
	case err != nil:
		return nil, err
	}
	return msg.Data, nil
}

func (p *probe) ping(ctx context.Context) {
	if p.ID == "" || strings.ContainsAny(p.ID, ".*> \t\r\n") {
		p.checks.of("ping", false, "", fmt.Sprintf("its id is %q, which is no token of a subject", p.ID))
		return
	}
	raw, err := p.ask(ctx, "$SRV.PING."+serviceName+"."+p.ID)
	var pong micro.Ping
	if err == nil && (json.Unmarshal(raw, &pong) != nil || pong.ID != p.ID || pong.Name != serviceName) {
		err = errors.New("the answer is of something else")
	}
	p.checks.of("ping", err == nil, "it answers", fmt.Sprint(err))
}

// status asks the endpoint of this name.
func (p *probe) status(ctx context.Context) {
	if !ofAgents(p.statusSubject) {
		p.checks.left("liveness", elsewhere, p.statusSubject)
		return
	}
	raw, err := p.ask(ctx, p.statusSubject)
	says := ""
	if err != nil {
		says = err.Error()
	} else {
		says = p.beatFault(raw)
	}
	p.checks.of("liveness", says == "", "status answers as a heartbeat does", says)
}

// beatFault says what is wrong with a heartbeat, empty: nothing.
func (p *probe) beatFault(raw []byte) string {
	var b Beat
	if err := json.Unmarshal(raw, &b); err != nil {
		return "it is no heartbeat: " + err.Error()
	}
	switch off := time.Since(b.Time); {
	case b.Agent != p.Agent || b.Owner != p.Owner:
		return fmt.Sprintf("it is of %q and %q", b.Agent, b.Owner)
	case b.InstanceID == "":
		return "instance_id is missing"
	case b.Interval <= 0:
		return fmt.Sprintf("interval_s is %d, it must be positive", b.Interval)
	case off.Abs() > clockApart:
		return fmt.Sprintf("its clock (ts) is %v off", off.Round(time.Second))
	}
	return ""
}

// empty sends an empty prompt: it must be refused with 400, and the answer must end.
func (p *probe) empty(ctx context.Context) {
	fault := func(format string, args ...any) {
		p.checks.of("empty prompt", false, "", fmt.Sprintf(format, args...))
	}
	if !ofAgents(p.PromptSubject) {
		p.checks.left("empty prompt", elsewhere, p.PromptSubject)
		return
	}
	sub, err := p.nc.SubscribeSync(p.nc.NewInbox())
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = p.nc.PublishRequest(p.PromptSubject, sub.Subject, nil)
	}
	if err != nil {
		fault("%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	code := 0
	for range 16 {
		msg, err := sub.NextMsgWithContext(ctx)
		switch {
		case err != nil && code != 0:
			fault("it is refused with %d, and the answer does not end: an empty message without headers must follow, or callers wait on", code)
			return
		case err != nil:
			fault("it is not refused within %v", answersIn)
			return
		case msg.Header.Get("Status") == "503":
			fault("nobody listens at %s", p.PromptSubject)
			return
		case len(msg.Data) == 0 && len(msg.Header) == 0:
			refused := code == 400 || code == 401 && p.MinTrust == "signed"
			p.checks.of("empty prompt", refused, fmt.Sprintf("it is refused with %d, and the answer ends", code), fmt.Sprintf("it must be refused with 400; the answer ended, its error is %d", code))
			return
		case msg.Header.Get(micro.ErrorCodeHeader) != "":
			code = errorOf(msg).Code
		}
	}
	fault("it is answered, and must be refused with 400")
}

// heartbeat waits for one of the instance.
func (p *probe) heartbeat(ctx context.Context, wait time.Duration) {
	const at = "heartbeat"
	if wait <= 0 || !ValidToken(p.Agent) || !ValidToken(p.Owner) || !ValidToken(p.Name) {
		p.checks.left(at, "it was not listened for")
		return
	}
	sub, err := p.nc.SubscribeSync(beatSubject(p.Agent, p.Owner, p.Name))
	if err != nil {
		p.checks.of(at, false, "", err.Error())
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			p.checks.of(at, false, "", fmt.Sprintf("none came at %s within %v", sub.Subject, wait))
			return
		}
		var b Beat
		if json.Unmarshal(msg.Data, &b) == nil && b.InstanceID != p.ID && b.InstanceID != "" {
			continue // of another instance
		}
		says := p.beatFault(msg.Data)
		p.checks.of(at, says == "", fmt.Sprintf("it came, and comes every %d s", b.Interval), says)
		return
	}
}
