package mesh

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/audit"
	"agentmesh/shared/auth"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// Pushes keeps the receivers of what happens to one task, in the form of A2A.
type Pushes struct{ *core }

// PushSettings are those of a push configuration.
type PushSettings struct {
	ID          string // empty: a new one is made
	URL         string
	Token       string // shown to the receiver
	Scheme      string // of the Authorization header
	Credentials string
}

const (
	maxToken       = 1 << 10
	maxCredentials = 4 << 10
)

var (
	authScheme = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")
	headerText = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$`)
)

// Offered reports whether this core takes push configurations.
func (c Pushes) Offered() bool { return c.guard != nil && c.keys != nil }

// prepare makes the push configuration that settings ask for, of a task whose id is
// set later. All faults are reported together.
func (c Pushes) prepare(who auth.Caller, s *PushSettings, pointer string) (*webhook.Push, error) {
	if s == nil {
		return nil, nil
	}
	if !c.Offered() {
		return nil, callbacksOff()
	}
	var faults []Invalid
	fault := func(name, detail string) { faults = append(faults, Field(detail, pointer+name)) }
	p := &webhook.Push{ID: s.ID, Tenant: who.Tenant, Scheme: s.Scheme, CreatedAt: task.Stamp(time.Now())}
	if p.ID == "" {
		p.ID = strings.ReplaceAll(uuid.NewString(), "-", "")
	}
	if !webhook.ValidPushID(p.ID) {
		fault("/id", "it must match [A-Za-z0-9_-]{1,64}")
	}
	if s.Scheme == "" && s.Credentials != "" {
		fault("/authentication/scheme", "it is missing, such as Bearer")
	}
	if s.Scheme != "" && !authScheme.MatchString(s.Scheme) {
		fault("/authentication/scheme", "it must be the name of a scheme, such as Bearer")
	}
	if s.Credentials != "" && (len(s.Credentials) > maxCredentials || !headerText.MatchString(s.Credentials)) {
		fault("/authentication/credentials", "they must be visible ASCII of at most "+strconv.Itoa(maxCredentials)+" bytes")
	}
	if s.Token != "" && (len(s.Token) > maxToken || !headerText.MatchString(s.Token)) {
		fault("/token", "it must be visible ASCII of at most "+strconv.Itoa(maxToken)+" bytes")
	}
	blocked := checkURL(c.guard, s.URL, pointer+"/url", &faults)
	if webhook.HidesSecret(s.URL) {
		fault("/url", hiddenURL)
	}
	switch {
	case len(faults) > 0:
		return nil, RefuseFields(faults...)
	case blocked != nil:
		return nil, blocked
	}
	p.URL, _ = webhook.ShownURL(s.URL)
	return p, nil
}

// keep seals and stores a push configuration of a task.
func (c Pushes) keep(ctx context.Context, id task.ID, p *webhook.Push, s *PushSettings) error {
	if p == nil {
		return nil
	}
	p.Task = id
	if err := c.keys.SealPush(p, webhook.PushSecrets{URL: s.URL, Credentials: s.Credentials, Token: s.Token}); err != nil {
		return err
	}
	return c.store.Pushes.Put(ctx, p)
}

// Create has a receiver told what happens to a task from now on. One of the same id
// is replaced. Of those who create at the same time one may be over the limit.
func (c Pushes) Create(ctx context.Context, who auth.Caller, id task.ID, s PushSettings) (p *webhook.Push, err error) {
	defer func() { c.audit(ctx, who, audit.PushCreate, string(id), err) }()
	p, err = c.prepare(who, &s, "")
	if err != nil {
		return nil, err
	}
	all, err := c.List(ctx, who, id)
	if err != nil {
		return nil, err
	}
	others := 0
	for _, one := range all {
		if one.ID != p.ID {
			others++
		}
	}
	if others >= webhook.MaxPushes {
		return nil, Refuse(ErrTooManyWebhooks, "The task has %d push configurations, which is the most. Delete one that is not needed.", others)
	}
	if err := c.keep(context.WithoutCancel(ctx), id, p, &s); err != nil {
		return nil, err
	}
	return p, nil
}

// Get reads a push configuration of a task.
func (c Pushes) Get(ctx context.Context, who auth.Caller, id task.ID, name string) (*webhook.Push, error) {
	if !webhook.ValidPushID(name) || !id.Valid() {
		return nil, webhook.ErrPushNotFound
	}
	return c.store.Pushes.Get(ctx, who.Tenant, id, name)
}

// List lists the push configurations of a task, oldest first.
func (c Pushes) List(ctx context.Context, who auth.Caller, id task.ID) ([]*webhook.Push, error) {
	if !id.Valid() {
		return nil, task.ErrNotFound
	}
	return c.store.Pushes.Of(ctx, who.Tenant, id)
}

// Delete ends a push configuration. To do it twice is no error. What is on its way is
// canceled when it comes due.
func (c Pushes) Delete(ctx context.Context, who auth.Caller, id task.ID, name string) (err error) {
	_, err = c.Get(ctx, who, id, name)
	if errors.Is(err, webhook.ErrPushNotFound) {
		return nil
	}
	defer func() { c.audit(ctx, who, audit.PushDelete, string(id), err) }()
	if err != nil {
		return err
	}
	return c.store.Pushes.Delete(context.WithoutCancel(ctx), who.Tenant, id, name)
}
