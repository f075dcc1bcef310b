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
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/shared/signature"
)

// listenFlags are the settings of `mesh listen`.
type listenFlags struct {
	clientFlags
	address   string
	forward   string
	events    []string
	agents    []string
	callbacks bool
}

// listenCommand is a receiver for a developer's machine: it subscribes for as
// long as it runs, verifies what comes and shows it.
func listenCommand() *cobra.Command {
	f := &listenFlags{}
	cmd := &cobra.Command{
		Use: "listen", Short: "Receive webhooks here: verify them, show them, forward them", Args: NoArgs,
		Long: "Subscribes to events for as long as it runs, verifies each delivery and prints it as it comes.\n" +
			"The address it prints also serves as the callback_url of actions. Ctrl-C ends it and the subscription.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return receiveWebhooks(cmd.Context(), f, cmd.OutOrStdout(), nil)
		},
	}
	f.bind(cmd)
	p := cmd.Flags()
	p.StringVar(&f.address, "address", "127.0.0.1:0", "where to listen; the gateway must be able to reach it")
	p.StringVar(&f.forward, "forward-to", "", "URL to send each verified delivery on to; its answer is the answer")
	p.StringSliceVar(&f.events, "events", nil, "types of events, such as task.completed; milestones and outcomes when left out")
	p.StringSliceVar(&f.agents, "agents", nil, "only events of these agents")
	p.BoolVar(&f.callbacks, "callbacks-only", false, "subscribe to nothing: receive the callbacks of actions that name this address")
	return cmd
}

// Listen receives the callbacks of actions until ctx is done and writes a line for
// each to out. ready gets the callback URL.
func Listen(ctx context.Context, gateway string, out io.Writer, ready func(callback string)) error {
	f := &listenFlags{clientFlags: clientFlags{gateway: gateway, output: "text"}, address: "127.0.0.1:0", callbacks: true}
	return receiveWebhooks(ctx, f, out, ready)
}

// receiveWebhooks listens until ctx is done. ready, if any, gets the callback URL.
func receiveWebhooks(ctx context.Context, f *listenFlags, out io.Writer, ready func(callback string)) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	if f.forward != "" {
		if u, err := url.Parse(f.forward); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return Usage("forward-to is %q, it must look like http://127.0.0.1:3000/hook", f.forward)
		}
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		return fmt.Errorf("listen for --address: %w; stop what uses the address or choose another with --address", err)
	}
	defer func() { _ = l.Close() }()
	callback := "http://" + l.Addr().String() + "/"
	r := &localReceiver{out: out, forward: f.forward, json: f.output == "json", gateway: c, client: &http.Client{Timeout: 14 * time.Second}}
	say := func(format string, args ...any) {
		if !r.json {
			fmt.Fprint(out, clean(fmt.Sprintf(format, args...)))
		}
	}
	if err := r.learn(ctx); err != nil {
		return f.explain("read the key set", err)
	}
	if !f.callbacks {
		description := "mesh listen"
		hook, err := c.CreateWebhook(ctx, client.WebhookRequest{URL: &callback, Events: &f.events, Agents: &f.agents, Description: &description})
		if err != nil {
			return f.explain("subscribe", err)
		}
		// It goes with us, however we end.
		defer func() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := c.DeleteWebhook(last, hook.WebhookID); err != nil {
				say("the webhook %s is left behind: %v\n", hook.WebhookID, err)
			}
		}()
		secret, err := signature.ParseSecret(hook.Secret)
		if err != nil {
			return fmt.Errorf("read the secret of %s: %w", hook.WebhookID, err)
		}
		r.keys = append(r.keys, secret)
		say("Webhook %s is signed with %s\n", hook.WebhookID, hook.Secret)
	}
	say("Ready. Use %s as callback_url. Ctrl-C ends.\n", callback)
	if ready != nil {
		ready(callback)
	}
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

// localReceiver verifies deliveries and prints a line for each and for its
// answer.
type localReceiver struct {
	forward string
	json    bool
	gateway *client.Client
	client  *http.Client

	mu   sync.Mutex
	out  io.Writer
	keys []signature.VerifyingKey
}

// learn trusts the public keys of the mesh, which sign its callbacks.
func (r *localReceiver) learn(ctx context.Context) error {
	set, err := r.gateway.KeySet(ctx)
	if err != nil {
		return err
	}
	r.keys = append(r.keys, publicKeys(set)...)
	return nil
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
