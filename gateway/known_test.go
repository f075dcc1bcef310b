package gateway_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/travel"
)

// register is callers that come and go.
type register struct {
	mu  sync.Mutex
	all meshtest.Callers
}

func (g *register) Authenticate(ctx context.Context, c auth.Credentials) (auth.Caller, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all.Authenticate(ctx, c)
}

func (g *register) put(token string, who *auth.Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if delete(g.all, token); who != nil {
		g.all[token] = *who
	}
}

// A key that is revoked, a token that runs out, an attempt that is over: who opened a
// stream with it would read its tenant's events for hours.
func TestAStreamEndsWithTheCredentialsThatOpenedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(travel.Agent())
		callers := &register{all: meshtest.Callers{}}
		blue := auth.Caller{Tenant: "blue", Subject: "reader", Scopes: []auth.Scope{auth.All}}
		callers.put("blue", &blue)
		m.Ask(callers)
		id := meshtest.Decode[struct {
			TaskID string `json:"task_id"`
		}](t, m.Do("POST", "/tasks", `{"agent":"travel","instruction":"x","delay":"24h"}`, meshtest.As("blue")...).Body).TaskID
		talk := meshtest.Decode[struct {
			SessionID string `json:"session_id"`
		}](t, m.Do("POST", "/sessions", `{"agent":"travel"}`, meshtest.As("blue")...).Body).SessionID
		for name, then := range map[string]*auth.Caller{
			"gone":                nil,
			"without scopes":      {Tenant: "blue", Subject: "reader", Scopes: []auth.Scope{auth.AgentsRead}},
			"of another tenant":   {Tenant: "red", Subject: "reader", Scopes: []auth.Scope{auth.All}},
			"known as it was, so": &blue,
		} {
			for _, path := range []string{"/events", "/v1/events", "/tasks/" + id + "/events", "/sessions/" + talk + "/events"} {
				callers.put("reader", &blue)
				ctx, leave := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
					r.Header.Set("Authorization", "Bearer reader")
					m.Gateway.Handler().ServeHTTP(httptest.NewRecorder(), r)
				}()
				time.Sleep(time.Minute)
				select {
				case <-ended:
					t.Fatalf("%s: the stream of a known caller has ended", path)
				default:
				}
				callers.put("reader", then)
				time.Sleep(5 * time.Second)
				select {
				case <-ended:
					if then == &blue {
						t.Errorf("%s: the stream of a known caller has ended", path)
					}
				default:
					if then != &blue {
						t.Errorf("%s goes on for 5 s when its caller is %s", path, name)
					}
				}
				leave()
				<-ended
			}
		}
	})
}
