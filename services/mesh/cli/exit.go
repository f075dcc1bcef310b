package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"agentmesh/gateway/client"
)

// Exit statuses of commands.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitTimedOut    = 3 // waiting for a task took too long; the task goes on
	exitInterrupted = 130
)

// ExitError is an error with the exit status that it means. Without an error it
// says nothing more: the command has printed what there is to say.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Usage is the error of a command line that means nothing.
func Usage(format string, args ...any) error { return Misuse(fmt.Errorf(format, args...)) }

// Misuse says that a command line, or another setting, caused err.
func Misuse(err error) error { return &ExitError{ExitUsage, err} }

// failedIf is the outcome of an answer that was shown: it tells of a failure, or
// it does not.
func failedIf(failed bool) error {
	if failed {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}

// ExitCode is the exit status that an error means.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitFailed
}

// explain says what was being done when the client met an error, and what to do
// about it. An error that has its exit status is explained already.
func (f *clientFlags) explain(doing string, err error) error {
	var done *ExitError
	var refused *client.Problem
	var network *net.OpError
	var lookup *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return err
	case errors.Is(err, context.Canceled):
		return &ExitError{Code: exitInterrupted}
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return &ExitError{ExitFailed, fmt.Errorf("%s: %w; show an API key with --api-key @file or MESH_API_KEY", doing, err)}
	case errors.As(err, &refused):
	case distrust(err) != "":
		return &ExitError{ExitFailed, fmt.Errorf("%s: %s: %w", doing, distrust(err), err)}
	case errors.As(err, &network), errors.As(err, &lookup):
		return &ExitError{ExitFailed, fmt.Errorf("%s: no gateway at %s; is `mesh up` running? choose another with --gateway", doing, shownURL(f.gateway))}
	}
	return &ExitError{ExitFailed, fmt.Errorf("%s: %w", doing, err)}
}

// shownURL is a URL without its password.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "that URL"
	}
	return u.Redacted()
}
