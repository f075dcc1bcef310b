package store_test

import (
	"testing"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// FuzzDueDelivery: a queue message is either refused or names a record by legal
// tokens.
func FuzzDueDelivery(f *testing.F) {
	for _, s := range []string{
		`{"delivery_id":"dlv_01a20000000000000000000000000001","tenant":"default","source":"act_01a20000000000000000000000000001","ref":true}`,
		`{"delivery_id":"dlv_01a20000000000000000000000000001","tenant":"default","source":"act_01a20000000000000000000000000001","status":"pending","url":"http://x"}`,
		`{"delivery_id":"*","tenant":">","source":"act_","ref":true}`, `{}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, _, err := store.DueDelivery(data)
		if err != nil {
			return
		}
		if !d.ID.Valid() || !task.ValidTenant(d.Tenant) || !d.Source.Valid() {
			t.Errorf("taken: %+v", d)
		}
	})
}
