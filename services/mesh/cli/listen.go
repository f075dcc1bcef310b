package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
	cmd := f.bind(&cobra.Command{
		Use: "listen", Short: "Receive webhooks here: verify them, show them, forward them", Args: NoArgs,
		Long: "Subscribes to events for as long as it runs, verifies each delivery and prints it as it comes.\n" +
			"The address it prints also serves as the callback_url of actions. Ctrl-C ends it and the subscription.",
	})
	p := cmd.Flags()
	p.StringVar(&f.address, "address", "127.0.0.1:0", "where to listen; the gateway must be able to reach it")
	p.StringVar(&f.forward, "forward-to", "", "URL to send each verified delivery on to; its answer is the answer")
	p.StringSliceVar(&f.events, "events", nil, "types of events, such as task.completed; milestones and outcomes when left out")
	p.StringSliceVar(&f.agents, "agents", nil, "only events of these agents")
	p.BoolVar(&f.callbacks, "callbacks-only", false, "subscribe to nothing: receive the callbacks of actions that name this address")
	completeFlag(cmd, "agents", someAgents)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		requests := append(get("/whoami"), get("/.well-known/webhooks/jwks.json?tenant=TENANT")...)
		if !f.callbacks {
			requests = append(requests, post("/webhooks", f.subscription("http://"+f.address+"/"))...)
		}
		c, err := f.open(cmd, requests...)
		if c == nil {
			return err
		}
		return receiveWebhooks(cmd.Context(), f, c, cmd.OutOrStdout(), func(string) {})
	}
	return cmd
}

// subscription is the webhook of as long as it runs.
func (f *listenFlags) subscription(callback string) client.WebhookRequest {
	description := "mesh listen"
	return client.WebhookRequest{URL: &callback, Events: &f.events, Agents: &f.agents, Description: &description}
}

// Listen receives the callbacks of actions until ctx is done and writes a line for
// each to out. ready gets the callback URL.
func Listen(ctx context.Context, gateway string, out io.Writer, ready func(callback string)) error {
	f := &listenFlags{clientFlags: clientFlags{gateway: gateway, output: "text"}, address: "127.0.0.1:0", callbacks: true}
	c, err := f.client()
	if err != nil {
		return err
	}
	return receiveWebhooks(ctx, f, c, out, ready)
}

// receiveWebhooks listens until ctx is done. ready gets the callback URL.
func receiveWebhooks(ctx context.Context, f *listenFlags, c *client.Client, out io.Writer, ready func(callback string)) error {
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
	r := &localReceiver{out: out, forward: f.forward, json: f.output == "json", client: &http.Client{Timeout: 14 * time.Second}}
	me, err := c.WhoAmI(ctx)
	if err != nil {
		return f.explain("ask who this is", err)
	}
	set, err := c.Webhooks.KeySet(ctx, me.Tenant)
	if err != nil {
		return f.explain("read the key set", err)
	}
	r.keys = publicKeys(set)
	if !f.callbacks {
		hook, err := c.Webhooks.Create(ctx, f.subscription(callback))
		if err != nil {
			return f.explain("subscribe", err)
		}
		defer r.leave(ctx, c, hook.WebhookID)
		secret, err := signature.ParseSecret(hook.Secret)
		if err != nil {
			return fmt.Errorf("read the secret of %s: %w", hook.WebhookID, err)
		}
		r.keys = append(r.keys, secret)
		r.say("Webhook %s is signed with %s\n", hook.WebhookID, hook.Secret)
	}
	r.say("Ready. Use %s as callback_url. Ctrl-C ends.\n", callback)
	ready(callback)
	return r.serve(ctx, l)
}
