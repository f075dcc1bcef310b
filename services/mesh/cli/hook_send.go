package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/shared/hook"
)

// secretOf is a secret that is in a file (@file), on standard input (-) or in the
// environment: on the command line other users of the machine see it.
func secretOf(cmd *cobra.Command, name, value, env string) (string, error) {
	switch {
	case value == "":
		return os.Getenv(env), nil
	case value != "-" && !strings.HasPrefix(value, "@"):
		return "", Usage("--%s is seen by other users of this machine; write it to a file and name that, --%s @file, or set %s", name, name, env)
	}
	raw, err := textFlag(name, value, cmd.InOrStdin())
	return strings.TrimRight(string(raw), "\r\n"), err
}

// hookSend is a request that is signed as a sender would.
type hookSend struct {
	verify                        hook.Verify
	secret, id, body, contentType string
	headers                       []string
	secure                        secure
}

// hookSendCommand signs a request for development.
func hookSendCommand() *cobra.Command {
	s := &hookSend{}
	cmd := &cobra.Command{
		Use: "send URL", Short: "Send a request to a hook, signed as a sender would: for development", Args: one("URL"),
		Example: `  MESH_HOOK_SECRET=... mesh hook send --style github --header "X-GitHub-Event: push" --body @push.json http://127.0.0.1:8080/hooks/hok_...`,
	}
	p := cmd.Flags()
	p.StringVar((*string)(&s.verify.Style), "style", "", "standard, github, stripe, slack, hmac or token")
	p.StringVar(&s.secret, "secret", "", "file of the secret, as @file (env MESH_HOOK_SECRET, which other users of this machine do not see)")
	p.StringVar(&s.body, "body", "", "the body; @file to read it from a file, - from standard input")
	p.StringVar(&s.id, "delivery", "", "id of the delivery, where the style has it in a header; a new one when left out")
	p.StringVar(&s.contentType, "content-type", "application/json", "of the body")
	p.StringArrayVar(&s.headers, "header", nil, `header to send, as "Name: value"; repeat it for more`)
	p.StringVar(&s.verify.Header, "signature-header", "", "of hmac and token: the header of the signature or the token")
	p.StringVar(&s.verify.Prefix, "prefix", "", "of hmac and token: before the signature or the token")
	p.StringVar(&s.verify.Encoding, "encoding", "", "of hmac: hex or base64")
	p.StringVar(&s.verify.Algorithm, "algorithm", "", "of hmac: sha256 or sha512")
	p.StringVar(&s.verify.Key, "key", "", "of hmac: text or base64")
	p.StringVar(&s.verify.Content, "content", "", "of hmac: what is signed, with {id}, {timestamp} and {body}")
	p.StringVar(&s.verify.Timestamp, "timestamp", "", "of hmac: the header of the time")
	p.StringVar(&s.verify.Username, "username", "", "of token: that of HTTP Basic")
	p.StringVar(&s.verify.ID, "id", "", "of hmac and token: the header of the delivery's id, or none")
	s.secure.bind(p)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return s.send(cmd, args[0]) }
	return cmd
}

func (s *hookSend) send(cmd *cobra.Command, url string) error {
	secret, err := hookSecret(cmd, s.secret)
	if err != nil {
		return err
	}
	if secret == "" {
		return Usage("name the file of the secret with --secret @file, or set MESH_HOOK_SECRET")
	}
	body, err := textFlag("body", s.body, cmd.InOrStdin())
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Usage("%v", err)
	}
	more, err := headersOf(s.headers)
	if err != nil {
		return err
	}
	for name, value := range more {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", s.contentType)
	if s.id == "" {
		s.id = "mesh-" + uuid.NewString()
	}
	if s.verify.ID == "" && (s.verify.Style == hook.HMAC || s.verify.Style == hook.Token) {
		s.verify.ID = hook.IDNone
	}
	if err := s.verify.Sign(r.Header, secret, s.id, time.Now(), body); err != nil {
		return Usage("%v", err)
	}
	return s.show(cmd, r)
}

// show sends a request and shows the answer.
func (s *hookSend) show(cmd *cobra.Command, r *http.Request) error {
	s.secure.or(secure{})
	c, err := s.secure.http()
	if err != nil {
		return err
	}
	resp, err := c.Do(r)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return &ExitError{ExitFailed, fmt.Errorf("the hook answers %s: %s", resp.Status, strings.TrimSpace(string(text)))}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", resp.Status, strings.TrimSpace(string(text)))
	return err
}

func showHooks(out io.Writer, all []client.Hook) error {
	t := newTable(out, "HOOK", "NAME", "STYLE", "STATE", "DOES")
	for _, h := range all {
		t.row(h.HookID, h.Name, h.Verify.Style, hookState(h), hookDoes(h))
	}
	return t.flush()
}

func hookState(h client.Hook) string {
	if h.Paused {
		return "paused"
	}
	return "active"
}

// hookDoes is what a delivery does, in a few words.
func hookDoes(h client.Hook) string {
	switch {
	case h.Session != nil:
		return "speaks in the session of " + h.Session.Key
	case h.Signal != nil:
		return "answers " + h.Signal.Name + " of the task at " + h.Signal.Task
	case h.Task != nil && h.Task.Agent != "":
		return "starts a task of " + h.Task.Agent
	}
	return "starts a task"
}

func showHook(out io.Writer, h *client.Hook) error {
	t := newTable(out)
	t.field("id", h.HookID)
	t.field("name", h.Name)
	t.field("url", h.URL)
	t.field("state", strings.TrimSpace(hookState(*h)+" "+h.Note))
	t.field("style", h.Verify.Style)
	t.field("delivery id", h.Verify.ID)
	t.field("does", hookDoes(*h))
	for _, r := range h.Accept {
		t.field("accepts", r.Header+r.JSON+" in "+strings.Join(r.In, ", "))
	}
	for _, k := range h.Keys {
		until := ""
		if !k.ExpiresAt.IsZero() {
			until = ", believed until " + k.ExpiresAt.Local().Format(time.DateTime)
		}
		t.field("secret", "of "+k.CreatedAt.Local().Format(time.DateTime)+until)
	}
	return t.flush()
}

func showRecent(out io.Writer, r *client.HookRecent) error {
	t := newTable(out, "AT", "DELIVERY", "OUTCOME", "SIZE", "TASK", "CAUSE")
	for _, d := range r.Deliveries {
		t.row(d.At.Local().Format(time.DateTime), d.DeliveryID, d.Outcome, strconv.Itoa(d.Size), d.TaskID, d.Cause)
	}
	return t.flush()
}
