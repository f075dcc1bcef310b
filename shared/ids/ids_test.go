package ids_test

import (
	"testing"

	"agentmesh/shared/ids"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// An id is of the kind that its prefix says, and of no other.
func TestEveryIDIsOfOneKind(t *testing.T) {
	uuid := [16]byte{0x01, 0xa2, 15: 0xff}
	kinds := map[string]func(id string) bool{
		string(task.NewID(task.KindTask, uuid)):   func(id string) bool { return task.ID(id).Valid() && task.ID(id).Kind() == task.KindTask },
		string(task.NewID(task.KindAction, uuid)): func(id string) bool { return task.ID(id).Valid() && task.ID(id).Kind() == task.KindAction },
		string(task.NewID(task.KindTurn, uuid)):   func(id string) bool { return task.ID(id).Valid() && task.ID(id).Kind() == task.KindTurn },
		string(session.NewID(uuid)):               func(id string) bool { return session.ID(id).Valid() },
		string(webhook.NewID(uuid)):               func(id string) bool { return webhook.ID(id).Valid() },
		string(webhook.NewDeliveryID("e", "r")):   func(id string) bool { return webhook.DeliveryID(id).Valid() },
	}
	for id := range kinds {
		for of, valid := range kinds {
			if valid(id) != (id == of) {
				t.Errorf("%s is valid as the kind of %s: %v", id, of, valid(id))
			}
		}
	}
}

func TestOnlyThirtyTwoHexDigitsAreAnID(t *testing.T) {
	good := ids.New("ses_", [16]byte{0x01, 0xa2, 15: 0xff})
	if good != "ses_01a200000000000000000000000000ff" || !ids.Valid(good, "ses_") {
		t.Errorf("New = %s", good)
	}
	for _, bad := range []string{"", "ses_", good + "0", good[:35], good[4:], "SES_" + good[4:], good[:35] + "F", good[:35] + ".", good[:35] + "*", "ses_>" + good[5:]} {
		if ids.Valid(bad, "ses_") {
			t.Errorf("%q is an id", bad)
		}
	}
}
