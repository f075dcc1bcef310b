package console

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"agentmesh/gateway/client"
)

// inboxScreen is what came to the receiver of callbacks for development, and how that
// answers.
var inboxScreen = screen{name: "inbox", path: "/inbox", title: "Inbox", load: loadInbox, live: []string{"inbox-rows"}, every: time.Second}

// inboxPage is what the receiver tells.
type inboxPage struct {
	URL string // where callbacks may go; empty: there is no inbox
	client.InboxContents
	faults
}

// verdict is whether a key that is known has signed a request.
func verdict(r client.InboxRequest) string {
	if r.SignedBy != "" {
		return "verified"
	}
	return "unverified"
}

// inboxOf is the receiver.
func inboxOf(v *visit) (client.Inbox, error) {
	if v.c.o.Inbox == "" {
		v.status = http.StatusNotFound
		return client.Inbox{}, errors.New("there is no inbox: start the mesh with --inbox 127.0.0.1:8091")
	}
	return client.NewInbox(v.c.o.Inbox)
}

func loadInbox(v *visit) (any, error) {
	p := &inboxPage{URL: v.c.o.Inbox}
	if p.URL == "" {
		return p, nil
	}
	b, err := inboxOf(v)
	if err != nil {
		return nil, err
	}
	all, err := b.Contents(v.ctx())
	p.InboxContents = *all
	return p, err
}

func answerInbox(v *visit) (string, error) {
	b, err := inboxOf(v)
	if err != nil {
		return "", err
	}
	status, _ := strconv.Atoi(v.form("status"))
	a := client.InboxAnswer{Status: status, Delay: firstOf(v.form("delay"), "0s")}
	if d, err := time.ParseDuration(a.Delay); err != nil || d < 0 || d > time.Minute || status < 200 || status > 599 {
		return "", refuseInbox(v, a)
	}
	_, err = b.Answer(v.ctx(), a)
	return "inbox?said=saved", err
}

// refuseInbox shows an answer again that there cannot be.
func refuseInbox(v *visit, a client.InboxAnswer) error {
	body, err := loadInbox(v)
	if err != nil {
		return err
	}
	p := body.(*inboxPage)
	p.InboxContents.Answer = a
	p.faults, _ = v.faultsOf(wrong("It answers with a status from 200 to 599, after a delay of up to a minute such as 2s."))
	v.show(inboxScreen.page(v, p))
	return nil
}

func clearInbox(v *visit) (string, error) {
	b, err := inboxOf(v)
	if err != nil {
		return "", err
	}
	return "inbox?said=cleared", b.Clear(v.ctx())
}
