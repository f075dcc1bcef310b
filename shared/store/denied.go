package store

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/topology"
)

// ErrDenied is what a NATS server does not let this user do. It does not pass by
// itself.
var ErrDenied = errors.New("this NATS user may not")

// refuse ends those that the server has refused, as far as its word tells.
func (q *requests) refuse(d denial) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d.inbox {
		q.deaf = d.err()
	}
	for r := range q.underWay {
		if d.inbox || d.concerns(r.what) {
			r.end(d.err())
		}
	}
}

// denial is the server's word that a user may not do something.
type denial struct {
	verb, subject string
	inbox         bool // it is about the answers to our requests
}

var denied = regexp.MustCompile(`(?i)violation for (publish|subscription)[^"]*"([^"]+)"`)

// denialOf reads an error of a connection with an inbox; ok is false when it is
// another one.
func denialOf(err error, inbox string) (d denial, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return d, false
	}
	m := denied.FindStringSubmatch(err.Error())
	if m == nil {
		return d, false
	}
	d = denial{"publish to", m[2], false}
	if strings.EqualFold(m[1], "subscription") {
		d.verb, d.inbox = "subscribe to", strings.HasPrefix(m[2], inbox+".")
	}
	return d, true
}

func (d denial) err() error {
	return fmt.Errorf("%w %s %s: give it the permissions of its role (deploy/nats)", ErrDenied, d.verb, d.subject)
}

// concerns reports whether a request to what may be the one that was refused.
func (d denial) concerns(what string) bool {
	name := strings.TrimPrefix(what, writes)
	if name == "" || strings.HasPrefix(d.subject, name+".") {
		return true
	}
	for token := range strings.SplitSeq(d.subject, ".") {
		if token == name || token == topology.BucketStream(name) {
			return true
		}
	}
	return false
}

// heed has the connection's refusals end the requests that they are about.
func (s *core) heed() {
	inbox, before := s.nc.Opts.InboxPrefix, s.nc.ErrorHandler()
	if inbox == "" {
		inbox = strings.TrimSuffix(nats.InboxPrefix, ".")
	}
	s.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if d, ok := denialOf(err, inbox); ok {
			s.requests.refuse(d)
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
}
