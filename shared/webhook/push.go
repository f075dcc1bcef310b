package webhook

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"agentmesh/shared/task"
)

// ErrPushNotFound is a push configuration that is not known, or past its retention.
var ErrPushNotFound = errors.New("push configuration not found")

// Push is a receiver of what happens to one task, in the form of A2A. It is kept as
// long as a finished task.
type Push struct {
	ID        string    `json:"push_id"` // unique within its task
	Tenant    string    `json:"tenant"`
	Task      task.ID   `json:"task_id"`
	URL       string    `json:"url"`              // as it may be shown
	Scheme    string    `json:"scheme,omitempty"` // of the Authorization header; empty: there is none
	Sealed    []byte    `json:"sealed"`           // PushSecrets
	CreatedAt time.Time `json:"created_at"`
}

// PushSecrets is what of a push configuration is stored sealed.
type PushSecrets struct {
	URL         string `json:"url"` // the whole of it
	Credentials string `json:"credentials,omitempty"`
	Token       string `json:"token,omitempty"`
}

// MaxPushes bounds the push configurations of a task.
const MaxPushes = 16

var pushID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidPushID reports whether id may name a push configuration.
func ValidPushID(id string) bool { return pushID.MatchString(id) }

// Validate refuses a record that is none.
func (p *Push) Validate() error {
	if !ValidPushID(p.ID) || !task.ValidTenant(p.Tenant) || !p.Task.Valid() || p.URL == "" {
		return fmt.Errorf("push configuration %q of task %q: %w", p.ID, p.Task, task.ErrBadRecord)
	}
	return nil
}

// Purpose is what its secrets are sealed for.
func (p *Push) Purpose() string { return "push " + p.Tenant + " " + string(p.Task) + " " + p.ID }
