package notifier

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/egress"
	"agentmesh/shared/keyring"
	"agentmesh/shared/natstest"
	"agentmesh/shared/secret"
	"agentmesh/shared/store"
)

// A notifier that has ended reads the list of webhooks no more: Run owns the reader
// and waits for it.
func TestTheReaderOfWebhooksEndsWithItsNotifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(t.Context(), natstest.Start(t).Connect(t), store.Options{Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		keeper, err := secret.New(secret.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(t.Context(), Default(), st, egress.New(egress.Policy{}, nil), keyring.New(keeper), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		for range 3 {
			if _, err := n.webhooks.all(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.webhooks.all(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("asked after the end: %v, want nobody to answer", err)
		}
	})
}
