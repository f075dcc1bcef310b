package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

var (
	// webhooksScreen lists subscriptions, webhookScreen is one of them.
	webhooksScreen = screen{name: "webhooks", path: "/webhooks", title: "Webhooks", load: loadWebhooks, live: []string{"webhooks-rows"}, every: 5 * time.Second}
	webhookScreen  = screen{
		name: "webhook", path: "/webhooks/{id}", nav: "webhooks", load: loadWebhook, named: func(body any) string { return "Webhook " + short(body.(*webhookPage).W.WebhookID) },
		live: []string{"webhook-deliveries"}, every: 3 * time.Second,
	}
)

type webhooksPage struct {
	Webhooks window[webhookRow]
	Form     webhookForm
}

// webhookRow is a webhook and how its newest deliveries went.
type webhookRow struct {
	client.Webhook
	Health health
}

// health is what became of the newest deliveries of a webhook.
type health struct {
	Delivered, Failing, Dead int
	Bars                     []int // attempts of each, oldest first
}

// healthOf looks at deliveries, newest first.
func healthOf(all []client.Delivery) (h health) {
	for _, d := range all {
		switch d.Status {
		case "delivered":
			h.Delivered++
		case "dead":
			h.Dead++
		case "retrying", "parked":
			h.Failing++
		}
		h.Bars = append(h.Bars, len(d.Attempts))
	}
	slices.Reverse(h.Bars)
	return h
}

// healthMost is how many deliveries the small chart of a webhook shows.
const healthMost = 25

// webhookForm is the form of a webhook.
type webhookForm struct {
	URL, Description, Agents string
	Types                    []choice
	Open                     bool // it was sent, and not taken
	faults
}

// choice is a box to tick.
type choice struct {
	Value string
	On    bool
}

// eventTypes are those that a webhook may ask for.
var eventTypes = []string{
	"task.processing", "task.milestone", "task.input_required", "task.completed", "task.failed", "task.canceled",
	"action.processing", "action.milestone", "action.input_required", "action.completed", "action.failed", "action.canceled",
}

func formOfTypes(on []string) (all []choice) {
	for _, t := range eventTypes {
		all = append(all, choice{t, slices.Contains(on, t)})
	}
	for _, t := range on {
		if !slices.Contains(eventTypes, t) {
			all = append(all, choice{t, true})
		}
	}
	return all
}

func loadWebhooks(v *visit) (any, error) {
	all, err := v.api.Webhooks.List(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &webhooksPage{Form: webhookForm{Types: formOfTypes(nil)}}
	rows := make([]webhookRow, len(all))
	for i, w := range all {
		rows[i].Webhook = w
	}
	p.Webhooks = windowOf(v.r.URL.Query(), rows, func(w webhookRow) string { return w.URL + " " + w.Description + " " + w.WebhookID })
	for i := range p.Webhooks.Rows {
		w := &p.Webhooks.Rows[i]
		sent, _, err := v.api.Deliveries.List(v.ctx(), client.DeliveryFilter{WebhookID: w.WebhookID, Limit: healthMost}, "")
		if err != nil {
			return nil, err
		}
		w.Health = healthOf(sent)
	}
	return p, nil
}

// webhookPage is a webhook.
type webhookPage struct {
	W          client.Webhook
	Health     health
	Deliveries []client.Delivery
	Form       webhookForm
	Check      *signatureCheck
}

// signatureCheck is a request that was pasted, and whether it is signed.
type signatureCheck struct {
	Headers, Body string
	Verdict       *api.Verdict
	Fault         string
}

func loadWebhook(v *visit) (any, error) {
	w, err := v.api.Webhooks.Get(v.ctx(), v.id())
	if err != nil {
		return nil, err
	}
	p := &webhookPage{W: *w, Check: &signatureCheck{}}
	p.Form = webhookForm{URL: w.URL, Description: w.Description, Agents: strings.Join(w.Agents, ", "), Types: formOfTypes(w.Events)}
	p.Deliveries, _, err = v.api.Deliveries.List(v.ctx(), client.DeliveryFilter{WebhookID: w.WebhookID, Limit: healthMost}, "")
	p.Health = healthOf(p.Deliveries)
	return p, err
}

// webhookRequest is the form that was sent.
func webhookRequest(v *visit) client.WebhookRequest {
	url, description, events, agents := v.form("url"), v.form("description"), v.r.PostForm["events"], listOf(v.form("agents"))
	if events == nil {
		events = []string{}
	}
	return client.WebhookRequest{URL: &url, Description: &description, Events: &events, Agents: &agents}
}

// listOf reads names that are separated by commas or spaces.
func listOf(text string) []string {
	all := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
	if all == nil {
		return []string{}
	}
	return all
}

func createWebhook(v *visit) (string, error) {
	r := webhookRequest(v)
	r.Scheme = v.form("scheme")
	w, err := v.api.Webhooks.Create(v.ctx(), r)
	if err == nil {
		showSecret(v, w)
		return "", nil
	}
	return "", refuseWebhook(v, err, webhooksScreen, func(p any) *webhookForm { return &p.(*webhooksPage).Form })
}

// refuseWebhook shows a form again that was not taken.
func refuseWebhook(v *visit, err error, s screen, formOn func(page any) *webhookForm) error {
	faults, err := v.faultsOf(err)
	if err != nil {
		return err
	}
	body, err := s.load(v)
	if err != nil {
		return err
	}
	*formOn(body) = webhookForm{URL: v.form("url"), Description: v.form("description"), Agents: v.form("agents"), Types: formOfTypes(v.r.PostForm["events"]), Open: true, faults: faults}
	v.show(s.page(v, body))
	return nil
}

// showSecret shows a secret, this once.
func showSecret(v *visit, w *client.Webhook) {
	v.secret = true
	v.show(&page{Screen: "secret", Title: "The secret", Nav: "webhooks", Body: w})
}

func rotateWebhook(v *visit) (string, error) {
	overlap, err := time.ParseDuration(firstOf(v.form("overlap"), "24h"))
	if err != nil {
		v.status = http.StatusUnprocessableEntity
		return "", errors.New("the overlap must be a duration such as 24h")
	}
	w, err := v.api.Webhooks.RotateSecret(v.ctx(), v.id(), v.form("scheme"), overlap)
	if err != nil {
		return "", err
	}
	showSecret(v, w)
	return "", nil
}

func updateWebhook(v *visit) (string, error) {
	if _, err := v.api.Webhooks.Update(v.ctx(), v.id(), webhookRequest(v)); err != nil {
		return "", refuseWebhook(v, err, webhookScreen, func(p any) *webhookForm { return &p.(*webhookPage).Form })
	}
	return "webhooks/" + v.id() + "?said=saved", nil
}

func toggleWebhook(v *visit) (string, error) {
	on := v.form("enabled") == "true"
	_, err := v.api.Webhooks.Update(v.ctx(), v.id(), client.WebhookRequest{Enabled: &on})
	said := "disabled"
	if on {
		said = "enabled"
	}
	return "webhooks/" + v.id() + "?said=" + said, err
}

func testWebhook(v *visit) (string, error) {
	_, err := v.api.Webhooks.Test(v.ctx(), v.id())
	return "webhooks/" + v.id() + "?said=tested", err
}

func deleteWebhook(v *visit) (string, error) {
	return "webhooks?said=deleted", v.api.Webhooks.Delete(v.ctx(), v.id())
}

// checkSignature says whether a request that was pasted is signed by the webhook. It
// never says what the signature should be.
func checkSignature(v *visit) (string, error) {
	body, err := loadWebhook(v)
	if err != nil {
		return "", err
	}
	p := body.(*webhookPage)
	p.Check = &signatureCheck{Headers: v.r.PostFormValue("headers"), Body: strings.ReplaceAll(v.r.PostFormValue("body"), "\r\n", "\n")}
	if v.form("crlf") == "on" {
		p.Check.Body = v.r.PostFormValue("body")
	}
	p.Check.Verdict, err = v.api.Webhooks.Verify(v.ctx(), v.id(), headersOf(p.Check.Headers), p.Check.Body)
	var refusal *client.Problem
	if errors.As(err, &refusal) && refusal.Status < 500 {
		p.Check.Fault, err = firstOf(refusal.Detail, refusal.Title), nil
		v.status = refusal.Status
	}
	if err != nil {
		return "", err
	}
	v.show(webhookScreen.page(v, p))
	return "", nil
}

// headersOf reads headers as they are pasted: a line each, name: value.
func headersOf(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && len(all) < 100 {
			all[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return all
}
