package meshtest

import (
	"context"
	"fmt"

	"agentmesh/shared/auth"
)

// Callers are the callers that gateways know, by their bearer tokens.
type Callers map[string]auth.Caller

// Authenticate implements auth.Authenticator.
func (c Callers) Authenticate(_ context.Context, shown auth.Credentials) (auth.Caller, error) {
	if shown.Bearer == "" {
		return auth.Caller{}, auth.ErrNoCredentials
	}
	who, ok := c[shown.Bearer]
	if !ok {
		return who, fmt.Errorf("an unknown token: %w", auth.ErrUnauthenticated)
	}
	return who, nil
}

// Ask has the mesh ask who calls: its gateway is a new one.
func (m *Mesh) Ask(who auth.Authenticator) {
	m.T.Helper()
	m.Asks = who
	m.Gateway = m.NewGateway(m.Store)
}

// As is the header of a request with a token, for Do.
func As(token string) []string { return []string{"Authorization", "Bearer " + token} }
