package services

import "testing"

// An answer comes to the inbox of the connection, which is the user's own: one that
// the client library would name is everybody's, and a user of deploy/nats may not
// hear it.
func TestAnswersComeToTheConnectionsOwnInbox(t *testing.T) {
	err := sources("..", func(s source) {
		if s.test() {
			return
		}
		for _, at := range s.calls("nats", "NewInbox") {
			t.Errorf("%s: ask the connection for an inbox", at)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
