package console

import (
	"errors"
	"net/http"

	"agentmesh/gateway/client"
)

// faults are why a form was not taken. It is shown again, with them and with what was in
// it.
type faults struct {
	Fault  string
	Faults []client.Invalid
}

// wrong is what is wrong with a form, in words for who has filled it in.
type wrong string

func (w wrong) Error() string { return string(w) }

// faultsOf are those of a form that was refused. Any other error is none of the form's,
// and stays one.
func (v *visit) faultsOf(err error) (f faults, _ error) {
	var w wrong
	var refusal *client.Problem
	switch {
	case errors.As(err, &w):
		v.status = http.StatusUnprocessableEntity
		return faults{Fault: w.Error()}, nil
	case errors.As(err, &refusal) && refusal.Status != http.StatusUnauthorized && refusal.Status < http.StatusInternalServerError:
		v.status = refusal.Status
		return faults{firstOf(refusal.Detail, refusal.Title), refusal.Errors}, nil
	}
	return f, err
}
