// Package inbox is a receiver of callbacks for development: it keeps the newest
// requests, says which key has signed each, and answers as it is told to, so that
// retries can be watched. It is for loopback, and for a mesh without authentication.
package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/pause"
	"agentmesh/shared/sameorigin"
	"agentmesh/shared/signature"
)

// API is the path of what the inbox tells; every other path receives.
const API = "/-/inbox"

// Bounds of an inbox.
const (
	kept     = 100     // requests
	maxBody  = 1 << 20 // bytes of one
	maxDelay = time.Minute
)

// Key is one that may have signed a request: that of the mesh's callbacks, or one of a
// webhook.
type Key struct {
	Name   string
	Verify signature.VerifyingKey
}

// Inbox keeps requests.
type Inbox struct {
	keys func(context.Context) []Key

	mu       sync.Mutex
	n        int
	requests []client.InboxRequest
	answer   client.InboxAnswer
	delay    time.Duration
}

// New makes an inbox. keys are those that may have signed what comes.
func New(keys func(context.Context) []Key) *Inbox {
	return &Inbox{keys: keys, answer: client.InboxAnswer{Status: http.StatusOK, Delay: "0s"}}
}

// Handler serves what the inbox tells at API, and receives everywhere else. Pages of
// other sites and other hosts reach nothing.
func (b *Inbox) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+API, b.list)
	mux.HandleFunc("PUT "+API+"/answer", b.change)
	mux.HandleFunc("DELETE "+API, func(w http.ResponseWriter, _ *http.Request) { b.clear(); w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", b.receive)
	return sameorigin.Guard(mux, sameorigin.Rules{}, func(w http.ResponseWriter, _ *http.Request, _ sameorigin.Reason) {
		http.Error(w, "The inbox is for programs of this machine.", http.StatusForbidden)
	})
}

// Serve serves on l until ctx is done.
func (b *Inbox) Serve(ctx context.Context, l net.Listener) error {
	h, err := b.Handler()
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (b *Inbox) receive(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is over 1 MiB or ended early", http.StatusRequestEntityTooLarge)
		return
	}
	got := client.InboxRequest{At: at.UTC(), Method: r.Method, Path: r.URL.RequestURI(), Headers: map[string]string{}, Body: string(body)}
	for name, values := range r.Header {
		got.Headers[name] = strings.Join(values, ", ")
	}
	got.SignedBy, got.Refused = b.verify(r, body, at)
	delay := b.keep(&got)
	if pause.For(r.Context(), delay) {
		w.WriteHeader(got.Status)
	}
}

// verify says which key has signed a request, and else why none counts.
func (b *Inbox) verify(r *http.Request, body []byte, now time.Time) (by, why string) {
	why = "no key is known"
	for _, k := range b.keys(r.Context()) {
		_, err := signature.Verifier{Keys: []signature.VerifyingKey{k.Verify}}.Verify(r.Header, body, now)
		if err == nil {
			return k.Name, ""
		}
		why = err.Error()
	}
	return "", why
}

// keep adds a request, and says how it is answered.
func (b *Inbox) keep(r *client.InboxRequest) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	r.N, r.Status = b.n, b.answer.Status
	if b.requests = append(b.requests, *r); len(b.requests) > kept {
		b.requests = slices.Clone(b.requests[1:])
	}
	return b.delay
}

func (b *Inbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
}

func (b *Inbox) list(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	c := client.InboxContents{Answer: b.answer, Requests: append([]client.InboxRequest{}, b.requests...)}
	b.mu.Unlock()
	slices.Reverse(c.Requests)
	write(w, c)
}

func (b *Inbox) change(w http.ResponseWriter, r *http.Request) {
	var a client.InboxAnswer
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&a)
	if a.Delay == "" {
		a.Delay = "0s"
	}
	delay, wrong := time.ParseDuration(a.Delay)
	if err != nil || wrong != nil || delay < 0 || delay > maxDelay || a.Status < 200 || a.Status > 599 {
		http.Error(w, `send {"status":500,"delay":"2s"}: a status from 200 to 599, a delay up to 1m`, http.StatusUnprocessableEntity)
		return
	}
	b.mu.Lock()
	b.answer, b.delay = a, delay
	b.mu.Unlock()
	write(w, a)
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
