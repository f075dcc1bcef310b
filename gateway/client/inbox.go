package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Inbox is the receiver of callbacks for development, which `mesh up --inbox` has beside
// the gateway, at an address of its own.
type Inbox struct{ url string }

// InboxRequest is a request that came to an inbox.
type InboxRequest struct {
	N        int               `json:"n"` // from 1
	At       time.Time         `json:"at"`
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	SignedBy string            `json:"signed_by,omitempty"` // callbacks, or a webhook and its key; empty: no key that is known
	Refused  string            `json:"refused,omitempty"`   // why it is not verified
	Status   int               `json:"status"`              // that it was answered with
}

// InboxAnswer is how an inbox answers from now on: a status from 200 to 599, after a
// delay up to a minute, such as 2s.
type InboxAnswer struct {
	Status int    `json:"status"`
	Delay  string `json:"delay"`
}

// InboxContents is what an inbox has, newest first, and how it answers.
type InboxContents struct {
	Answer   InboxAnswer    `json:"answer"`
	Requests []InboxRequest `json:"requests"`
}

// Bounds of what an inbox is asked.
const (
	inboxWithin = 5 * time.Second
	inboxMost   = 256 << 20 // 100 requests of 1 MiB, escaped
)

// NewInbox is the inbox at a URL such as http://127.0.0.1:8091.
func NewInbox(at string) (Inbox, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Inbox{}, fmt.Errorf("the inbox is %q, it must be a URL such as http://127.0.0.1:8091", at)
	}
	return Inbox{strings.TrimSuffix(at, "/")}, nil
}

// URL is where callbacks and webhooks may go.
func (b Inbox) URL() string { return b.url }

// Contents reads what came: the newest 100 requests.
func (b Inbox) Contents(ctx context.Context) (*InboxContents, error) {
	var c InboxContents
	return &c, b.ask(ctx, http.MethodGet, "", nil, &c)
}

// Answer has the inbox answer so from now on, to watch how deliveries are tried again.
func (b Inbox) Answer(ctx context.Context, a InboxAnswer) (*InboxAnswer, error) {
	var now InboxAnswer
	return &now, b.ask(ctx, http.MethodPut, "/answer", a, &now)
}

// Clear forgets what came.
func (b Inbox) Clear(ctx context.Context) error {
	return b.ask(ctx, http.MethodDelete, "", nil, nil)
}

// errInbox is the refusal of an inbox, in its own words.
var errInbox = errors.New("the inbox refuses it")

func (b Inbox) ask(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, inboxWithin)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url+"/-/inbox"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the inbox does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer := io.LimitReader(resp.Body, inboxMost)
	if resp.StatusCode >= 300 {
		why, _ := io.ReadAll(io.LimitReader(answer, 1<<10)) // what it says of it, if anything
		return fmt.Errorf("%w: %s", errInbox, strings.TrimSpace(string(why)))
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("%s is no inbox: %w", b.url, err)
	}
	return nil
}
