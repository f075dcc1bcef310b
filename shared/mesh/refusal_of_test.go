package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

func TestEverySentinelOfANounIsARefusal(t *testing.T) {
	for err, want := range map[error]*mesh.Refusal{
		task.ErrTooLarge:                            mesh.ErrTooLarge,
		task.ErrTooDeep:                             mesh.ErrCallTooDeep,
		task.ErrDeadlock:                            mesh.ErrCallDeadlock,
		task.ErrConflict:                            mesh.ErrConflict,
		task.ErrNotFound:                            mesh.ErrTaskNotFound,
		task.ErrFinished:                            mesh.ErrTaskFinished,
		task.ErrFull:                                mesh.ErrStoreFull,
		task.ErrUnavailable:                         mesh.ErrStoreUnavailable,
		context.DeadlineExceeded:                    mesh.ErrStoreUnavailable,
		session.ErrNotFound:                         mesh.ErrSessionNotFound,
		session.ErrExpired:                          mesh.ErrSessionExpired,
		session.ErrBusy:                             mesh.ErrSessionBusy,
		session.ErrQueueFull:                        mesh.ErrSessionQueueFull,
		session.ErrFull:                             mesh.ErrSessionFull,
		session.ErrConflict:                         mesh.ErrConflict,
		webhook.ErrNotFound:                         mesh.ErrWebhookNotFound,
		webhook.ErrDeliveryNotFound:                 mesh.ErrDeliveryNotFound,
		webhook.ErrPushNotFound:                     mesh.ErrTaskNotFound,
		mesh.Refuse(mesh.ErrTaskNotRetryable, "no"): mesh.ErrTaskNotRetryable,
		errors.New("nats: secret at 10.0.0.1"):      mesh.ErrInternal,
	} {
		got := mesh.RefusalOf(fmt.Errorf("read it: %w", err))
		if got.Refusal != want {
			t.Errorf("%v is refused as %s, want %s", err, got.Refusal.Code, want.Code)
		}
		if strings.Contains(got.Detail, "10.0.0.1") || strings.Contains(got.Detail, "%") || got.Detail == "" {
			t.Errorf("%v says %q", err, got.Detail)
		}
	}
}

func TestARefusalSaysTheReasonThatTheNounGave(t *testing.T) {
	err := fmt.Errorf("the queue of the session has 32 messages: %w", session.ErrQueueFull)
	if got := mesh.RefusalOf(err).Detail; !strings.HasPrefix(got, "the queue of the session has 32 messages. ") || strings.Contains(got, session.ErrQueueFull.Error()) {
		t.Error(got)
	}
}

// A fault of the whole is told without the name of a member.
func TestAFaultOfTheWholeNamesNoMember(t *testing.T) {
	for pointer, want := range map[string]string{"": "it is no line.", "/type": "type: it is no line."} {
		if got := mesh.RefuseFields(mesh.Field("it is no line", pointer)); got.Detail != want || len(got.Faults) != 1 || got.Faults[0].Pointer != pointer {
			t.Errorf("%q: %+v", pointer, got)
		}
	}
}
