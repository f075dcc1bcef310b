package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// inboxScreen is what came to the receiver of callbacks for development, and how that
// answers.
var inboxScreen = screen{name: "inbox", path: "/inbox", title: "Inbox", load: loadInbox, live: []string{"inbox-rows"}, every: time.Second}

// inboxPage is what the receiver tells.
type inboxPage struct {
	URL    string // where callbacks may go; empty: there is no inbox
	Answer struct {
		Status int    `json:"status"`
		Delay  string `json:"delay"`
	} `json:"answer"`
	Requests []inboxRequest `json:"requests"`
}

type inboxRequest struct {
	N        int               `json:"n"`
	At       time.Time         `json:"at"`
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	SignedBy string            `json:"signed_by"`
	Refused  string            `json:"refused"`
	Status   int               `json:"status"`
}

// Verdict is whether a key that is known has signed it.
func (r inboxRequest) Verdict() string {
	if r.SignedBy != "" {
		return "verified"
	}
	return "unverified"
}

const (
	inboxAPI    = "/-/inbox"
	inboxWithin = 3 * time.Second
	inboxMost   = 8 << 20
)

// inbox asks the receiver.
func inbox(v *visit, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(v.ctx(), inboxWithin)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, v.c.o.Inbox+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the inbox does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		v.status = resp.StatusCode
		return errors.New("the inbox takes a status from 200 to 599 and a delay of up to a minute")
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(resp.Body, inboxMost)).Decode(out)
}

func loadInbox(v *visit) (any, error) {
	p := &inboxPage{URL: v.c.o.Inbox}
	if p.URL == "" {
		return p, nil
	}
	return p, inbox(v, http.MethodGet, inboxAPI, nil, p)
}

// errNoInbox is that of a form for a receiver that there is not.
var errNoInbox = errors.New("there is no inbox: start the mesh with --inbox 127.0.0.1:8091")

func answerInbox(v *visit) (string, error) {
	status, _ := strconv.Atoi(v.form("status"))
	if v.c.o.Inbox == "" {
		return "", errNoInbox
	}
	return "inbox?said=saved", inbox(v, http.MethodPut, inboxAPI+"/answer", map[string]any{"status": status, "delay": firstOf(v.form("delay"), "0s")}, nil)
}

func clearInbox(v *visit) (string, error) {
	if v.c.o.Inbox == "" {
		return "", errNoInbox
	}
	return "inbox?said=cleared", inbox(v, http.MethodDelete, inboxAPI, nil, nil)
}
