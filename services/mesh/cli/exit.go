package cli

import (
	"errors"
	"fmt"
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
