// Package synadia is the Synadia Agent Protocol for NATS 0.3 (a draft of 2026-09-21),
// both sides of it: agents that are found by the micro service API, prompts that are
// answered in chunks, queries, heartbeats, and who sends.
//
// It promises that every prompt ends once, with an empty message without headers, that
// nothing is published to where a caller should not be able to send us, and that what
// comes is bounded. It is core NATS, at most once: who wants more stands behind it. It
// knows neither tasks nor agents of the mesh.
package synadia

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Version is the version of the protocol as its parties announce it.
const Version = "0.3"

// Names and subjects.
const (
	serviceName = "agents" // of the micro service, and of the queue group
	promptName  = "prompt"
	statusName  = "status"
	prefix      = "agents."
)

// The subjects of an agent where nothing else is said.
func PromptSubject(agent, owner, name string) string {
	return prefix + "prompt." + agent + "." + owner + "." + name
}
func statusSubject(agent, owner, name string) string {
	return prefix + "status." + agent + "." + owner + "." + name
}
func beatSubject(agent, owner, name string) string {
	return prefix + "hb." + agent + "." + owner + "." + name
}

var token = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// ValidToken reports whether a text may be agent, owner or name of an agent.
func ValidToken(s string) bool { return token.MatchString(s) }

// Times of the protocol.
const (
	BeatEvery  = 30 * time.Second // between two heartbeats
	AliveFor   = 3                // heartbeats
	SilentFor  = 60 * time.Second // after which a caller gives up
	queriesFor = 24 * time.Hour
)

// Bounds of what comes.
const (
	MaxAttachments = 32
	maxTotal       = 32 << 20 // bytes of all chunks of a prompt
	maxName        = 255      // bytes of a file's name
)

// Attachment is a file.
type Attachment struct {
	Filename string `json:"filename"`
	Content  []byte `json:"content"`
}

// Request is a prompt, or the answer to a query. Beside what the protocol has, it is
// what we understand of more: others pass over it.
type Request struct {
	Prompt      string       `json:"prompt"`
	Attachments []Attachment `json:"attachments,omitempty"`

	TaskID         string `json:"task_id,omitempty"`
	Cancel         string `json:"cancel,omitempty"`
	SessionID      string `json:"session_id,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// Error is the answer to a prompt that failed.
type Error struct {
	Code       int
	Message    string
	Name       string        // for programs
	RetryAfter time.Duration // 0: not said
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func badRequest(format string, args ...any) error {
	return &Error{Code: 400, Name: "bad_request", Message: fmt.Sprintf(format, args...)}
}

// ParseRequest reads the body of a prompt: JSON where its first byte that is no white
// space is {, else text.
func ParseRequest(body []byte) (*Request, error) {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(body) == 0 || len(trimmed) == 0 {
		return nil, badRequest("The prompt is empty.")
	}
	if trimmed[0] != '{' {
		return &Request{Prompt: strings.ToValidUTF8(string(body), "\uFFFD")}, nil
	}
	var in struct {
		Request
		Prompt      *string `json:"prompt"`
		Attachments []struct {
			Filename string `json:"filename"`
			Content  string `json:"content"`
		} `json:"attachments"`
	}
	if err := json.Unmarshal(trimmed, &in); err != nil {
		return nil, badRequest("The prompt begins with { and is no JSON: %v. Text that begins so is sent as {\"prompt\":\"…\"}.", err)
	}
	r := in.Request
	if in.Prompt != nil {
		r.Prompt = *in.Prompt
	}
	if strings.TrimSpace(r.Prompt) == "" && r.TaskID == "" && r.Cancel == "" {
		return nil, badRequest("The prompt is empty.")
	}
	if len(in.Attachments) > MaxAttachments {
		return nil, badRequest("The prompt has %d attachments, allowed are %d.", len(in.Attachments), MaxAttachments)
	}
	r.Attachments = nil
	for i, a := range in.Attachments {
		content, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil {
			return nil, badRequest("attachments[%d].content is no padded base64.", i)
		}
		name, err := cleanName(a.Filename)
		if err != nil {
			return nil, badRequest("attachments[%d].filename %v.", i, err)
		}
		r.Attachments = append(r.Attachments, Attachment{name, content})
	}
	return &r, nil
}

// cleanName is the base name of a file: nothing of a path.
func cleanName(name string) (string, error) {
	base := path.Base(strings.ReplaceAll(strings.ToValidUTF8(name, ""), `\`, "/"))
	base = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, base)
	switch {
	case base == "." || base == ".." || base == "/" || strings.TrimSpace(base) == "":
		return "", errors.New("is missing")
	case len(base) > maxName:
		return "", fmt.Errorf("has %d bytes, allowed are %d", len(base), maxName)
	}
	return base, nil
}

// chunk is one message of an answer.
type chunk struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// queryData is that of a query.
type queryData struct {
	ID           string       `json:"id"`
	ReplySubject string       `json:"reply_subject"`
	Prompt       string       `json:"prompt"`
	Attachments  []Attachment `json:"attachments,omitempty"`
}

// Beat is a heartbeat, and what the endpoint status answers.
type Beat struct {
	Agent      string    `json:"agent"`
	Owner      string    `json:"owner"`
	Session    string    `json:"session,omitempty"`
	InstanceID string    `json:"instance_id"`
	Time       time.Time `json:"ts"`
	Interval   int       `json:"interval_s"`
}

var sizes = map[string]int64{"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

// parseSize reads a size such as 512KB; 0 is none that can be read.
func parseSize(s string) int64 {
	digits := strings.TrimRight(s, "BKMG")
	n, err := strconv.ParseInt(digits, 10, 32)
	unit, ok := sizes[s[len(digits):]]
	if err != nil || !ok || n <= 0 {
		return 0
	}
	return n * unit
}

// formatSize writes a size, rounded down to what can be written.
func formatSize(n int64) string {
	for _, unit := range []string{"MB", "KB"} {
		if n >= sizes[unit] {
			return strconv.FormatInt(n/sizes[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
