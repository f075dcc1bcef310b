package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code says what became of a call that has no answer.
type Code string

// The codes, as tasks have them.
const (
	Unreachable Code = "model_unreachable"
	RateLimited Code = "model_rate_limited"
	Rejected    Code = "model_rejected"
	Quota       Code = "model_quota"
	Refused     Code = "model_refused"
	ContextFull Code = "context_full"
	// NoFormat is of a server that takes no schema for its answer: ask without.
	NoFormat Code = "model_takes_no_format"
)

// Error is a call without an answer.
type Error struct {
	Code       Code
	Message    string        // for who runs the task: no secret, no address
	Detail     string        // for the operator
	Retry      bool          // the same call may succeed later
	RetryAfter time.Duration // not before
	Status     int           // 0: there was no answer
	RequestID  string
	Usage      Usage // of an answer that broke off
	Err        error

	mute   bool // the server says that it is not to be asked again
	adjust bool // the client has learned what the server does not take: ask again at once
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether err is an Error with the code.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// said is what a server says is wrong.
type said struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Param   string `json:"param"`
	Code    code   `json:"code"`
}

// code is a text, but some servers send a number.
type code string

// UnmarshalJSON takes both.
func (c *code) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*c = code(text)
	} else {
		*c = code(raw)
	}
	return nil
}

// saidOf reads the body of an error: an object, a text in its place, or no JSON.
func saidOf(raw []byte) said {
	var body struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	var s said
	if json.Unmarshal(raw, &body) != nil {
		s.Message = strings.TrimSpace(string(raw))
		return s
	}
	switch {
	case json.Unmarshal(body.Error, &s) == nil && (s.Message != "" || s.Code != ""):
	case json.Unmarshal(body.Error, &s.Message) == nil && s.Message != "":
	case body.Message != "":
		s.Message = body.Message
	default:
		s.Message = string(body.Detail)
	}
	return s
}

func (s said) names(words ...string) bool {
	for _, w := range words {
		if strings.Contains(s.Message, w) || strings.Contains(s.Param, w) || strings.Contains(string(s.Code), w) {
			return true
		}
	}
	return false
}

func (s said) contextFull() bool {
	return s.Code == "context_length_exceeded" || s.names("maximum context length", "context window", "context length", "context_length", "exceed_context_size")
}

func (s said) quota() bool {
	return s.Code == "insufficient_quota" || s.Type == "insufficient_quota"
}

// failed is the error of an answer that is none.
func failed(status int, header http.Header, s said, now time.Time) *Error {
	e := &Error{Status: status, RequestID: header.Get("X-Request-Id"), RetryAfter: retryAfter(header, now)}
	e.Detail = fmt.Sprintf("%d %s: %s (type %s, code %s, request %s)", status, http.StatusText(status), s.Message, s.Type, s.Code, e.RequestID)
	switch {
	case s.quota():
		e.Code, e.Message = Quota, "the account of the model has no quota left"
	case status == http.StatusTooManyRequests:
		e.Code, e.Retry, e.Message = RateLimited, true, "the model is asked too often"
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status >= 500:
		e.Code, e.Retry, e.Message = Unreachable, true, fmt.Sprintf("the model answered %d %s", status, http.StatusText(status))
	case s.contextFull():
		e.Code, e.Message = ContextFull, "the conversation is longer than the model takes"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Code, e.Message = Rejected, fmt.Sprintf("the model's endpoint answered %d %s: its key is wrong or may not do this", status, http.StatusText(status))
	default:
		e.Code, e.Message = Rejected, fmt.Sprintf("the model's endpoint answered %d %s: %s", status, http.StatusText(status), cut(s.Message, 512))
	}
	switch header.Get("X-Should-Retry") {
	case "true":
		e.Retry = true
	case "false":
		e.mute = true
	}
	return e
}

// broken is the error of an exchange that broke off.
func broken(err error, format string, args ...any) *Error {
	e := &Error{Code: Unreachable, Retry: true, Message: fmt.Sprintf(format, args...), Err: err}
	if err != nil {
		e.Detail = err.Error()
	}
	return e
}

// longestDelay is the longest delay that a server may ask for.
const longestDelay = time.Hour

// retryAfter reads how long a server wants to be left alone, 0: it does not say. The
// rate limit's own headers count where no other does.
func retryAfter(h http.Header, now time.Time) time.Duration {
	bounded := func(seconds float64) time.Duration {
		return time.Duration(min(max(seconds, 0), longestDelay.Seconds()) * float64(time.Second))
	}
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil {
		return bounded(ms / 1000)
	}
	text := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		return bounded(s)
	}
	if at, err := http.ParseTime(text); err == nil {
		return bounded(at.Sub(now).Seconds())
	}
	longest := time.Duration(0)
	for _, what := range []string{"Requests", "Tokens"} {
		// -1 and 0 are said where nothing is known.
		left, err := strconv.Atoi(h.Get("X-Ratelimit-Remaining-" + what))
		limit, limitErr := strconv.Atoi(h.Get("X-Ratelimit-Limit-" + what))
		reset, resetErr := time.ParseDuration(h.Get("X-Ratelimit-Reset-" + what))
		if err == nil && limitErr == nil && resetErr == nil && left == 0 && limit > 0 {
			longest = max(longest, bounded(reset.Seconds()))
		}
	}
	return longest
}

func cut(s string, n int) string {
	if s = strings.ToValidUTF8(s, ""); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
