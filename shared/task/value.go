package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Duration is a time.Duration written as Go writes it ("90s", "5m0s") in JSON
// and YAML.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// IsZero reports whether d is 0, so that omitzero leaves it out.
func (d Duration) IsZero() bool { return d == 0 }

// ValidAgent reports whether name is a legal agent name: [a-z0-9-]{1,40}.
func ValidAgent(name string) bool {
	return len(name) <= 40 && made(name, func(c byte) bool { return lower(c) || digit(c) || c == '-' })
}

// ValidTenant reports whether name is a legal tenant: [a-zA-Z0-9_-]{1,64}.
func ValidTenant(name string) bool {
	return len(name) <= 64 && made(name, func(c byte) bool { return lower(c) || c >= 'A' && c <= 'Z' || digit(c) || c == '_' || c == '-' })
}

// made reports whether a name has characters and only such as of allows. It is asked with
// each record that is read.
func made(name string, of func(c byte) bool) bool {
	for i := range len(name) {
		if !of(name[i]) {
			return false
		}
	}
	return name != ""
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }

// Validate refuses a record without an id, tenant, agent or a known status, so
// that whoever reads one need not check for them.
func (t *Task) Validate() error {
	switch {
	case !t.ID.Valid():
		return fmt.Errorf("id %q: %w", t.ID, ErrBadRecord)
	case !ValidTenant(t.Tenant):
		return fmt.Errorf("tenant %q: %w", t.Tenant, ErrBadRecord)
	case !ValidAgent(t.Agent):
		return fmt.Errorf("agent %q: %w", t.Agent, ErrBadRecord)
	case !t.Status.Valid():
		return fmt.Errorf("status %q: %w", t.Status, ErrBadRecord)
	}
	return nil
}

// Marshal encodes v as JSON and leaves <, > and & as they are: values are no
// HTML, and what a client sent should come back as it was.
func Marshal(v any) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if buf.Cap() > maxPooled {
		defer func() { *buf = bytes.Buffer{} }()
	}
	return bytes.Clone(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// buffers are kept: growing a new one for each record was 6 % of all bytes
// allocated on the way of a task.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxPooled = 64 << 10

// Value is a JSON value that is either inline or, above the inline limit, an
// object in the artifact store. The zero Value is "none".
type Value struct {
	Inline json.RawMessage `json:"inline,omitempty"`
	Object string          `json:"object,omitempty"` // name in the object store
	Size   int64           `json:"size,omitempty"`   // bytes, of an object
}

// IsZero reports whether there is no value.
func (v Value) IsZero() bool { return v.Inline == nil && v.Object == "" }
