package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/signature"
)

// localReceiver verifies deliveries and prints a line for each and for its
// answer.
type localReceiver struct {
	forward string
	json    bool
	client  *http.Client

	mu   sync.Mutex
	out  io.Writer
	keys []signature.VerifyingKey
}

// serve receives on l until ctx is done.
func (r *localReceiver) serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = srv.Shutdown(grace)
	<-ended
	return nil
}

// leave ends the subscription, also when ctx is done.
func (r *localReceiver) leave(ctx context.Context, c *client.Client, webhookID string) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := c.Webhooks.Delete(last, webhookID); err != nil {
		r.say("the webhook %s is left behind: %v\n", webhookID, err)
	}
}

// say tells a person something; a script reads deliveries only.
func (r *localReceiver) say(format string, args ...any) {
	if !r.json {
		fmt.Fprint(r.out, clean(fmt.Sprintf(format, args...)))
	}
}

// publicKeys are those of a key set that we can verify with.
func publicKeys(set []client.Key) (keys []signature.VerifyingKey) {
	for _, k := range set {
		raw, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil {
			continue
		}
		if public, err := signature.ParsePublicKey("whpk_" + base64.StdEncoding.EncodeToString(raw)); err == nil {
			keys = append(keys, public)
		}
	}
	return keys
}

const maxReceived = 1 << 20

func (r *localReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		http.Error(w, "the body is too large or ended early", http.StatusBadRequest)
		return
	}
	msg, err := signature.Verifier{Keys: r.keys}.Verify(req.Header, body, began)
	var event struct {
		Type     string `json:"type"`
		ActionID string `json:"action_id"`
		TaskID   string `json:"task_id"`
		Status   string `json:"status"`
	}
	_ = json.Unmarshal(body, &event)
	if err != nil {
		r.print(line{At: began, Arrow: "-->", Refused: err.Error()})
		http.Error(w, "the signature does not verify", http.StatusUnauthorized)
		r.print(line{At: time.Now(), Arrow: "<--", Status: http.StatusUnauthorized})
		return
	}
	r.print(line{At: began, Arrow: "-->", Type: event.Type, Subject: event.ActionID + event.TaskID, ID: msg.ID, Body: body})
	status := http.StatusOK
	if r.forward != "" {
		status = r.pass(w, req, body)
	}
	w.WriteHeader(status)
	r.print(line{At: time.Now(), Arrow: "<--", Type: event.Type, ID: msg.ID, Status: status, Took: time.Since(began), To: r.forward})
}

// pass sends a delivery on and returns the status of the answer.
func (r *localReceiver) pass(w http.ResponseWriter, from *http.Request, body []byte) int {
	req, err := http.NewRequestWithContext(from.Context(), http.MethodPost, r.forward, bytes.NewReader(body))
	if err != nil {
		return http.StatusBadGateway
	}
	req.Header = from.Header.Clone()
	resp, err := r.client.Do(req)
	if err != nil {
		return http.StatusBadGateway
	}
	defer func() { _ = resp.Body.Close() }()
	for _, name := range []string{"Retry-After", "Webhook-Delivery"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReceived))
	if err != nil && !errors.Is(err, io.EOF) {
		return http.StatusBadGateway
	}
	return resp.StatusCode
}

// line is one line of output.
type line struct {
	At      time.Time       `json:"at"`
	Arrow   string          `json:"direction"`
	Type    string          `json:"type,omitempty"`
	Subject string          `json:"subject,omitempty"` // the task or action
	ID      string          `json:"webhook_id,omitempty"`
	Status  int             `json:"status,omitempty"`
	Took    time.Duration   `json:"took_ns,omitempty"`
	To      string          `json:"to,omitempty"`
	Refused string          `json:"refused,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

func (r *localReceiver) print(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		if l.Arrow == "-->" { // in a script's words
			l.Arrow = "in"
		} else {
			l.Arrow = "out"
		}
		_ = WriteJSON(r.out, l)
		return
	}
	at := l.At.Format("15:04:05")
	switch {
	case l.Refused != "":
		fmt.Fprintf(r.out, "%s  -->  REFUSED: %s\n", at, oneLine(l.Refused, 0))
	case l.Arrow == "-->":
		fmt.Fprintf(r.out, "%s  -->  %-18s %s  [%s]\n", at, oneLine(l.Type, 0), oneLine(l.Subject, 0), oneLine(l.ID, 0))
	default:
		to := ""
		if l.To != "" {
			to = " from " + oneLine(l.To, 0)
		}
		fmt.Fprintf(r.out, "%s  <--  [%d]%s in %v  [%s]\n", at, l.Status, to, l.Took.Round(100*time.Microsecond), oneLine(l.ID, 0))
	}
}
