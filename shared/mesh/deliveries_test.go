package mesh_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
	"agentmesh/shared/webhook"
)

// A delivery moves from the queue to the records with its first attempt. Whoever looks
// meanwhile finds it, whichever of the looks that is before.
func TestADeliveryIsFoundWhileItIsRecorded(t *testing.T) {
	for what, found := range map[string]func(*mesh.Mesh, *webhook.Delivery) error{
		"by its id": func(core *mesh.Mesh, d *webhook.Delivery) error {
			_, err := core.Deliveries.Get(t.Context(), auth.Local(), d.ID)
			return err
		},
		"by its task": func(core *mesh.Mesh, d *webhook.Delivery) error {
			all, err := core.Deliveries.Of(t.Context(), auth.Local(), task.ID(d.Source))
			if err == nil && !slices.ContainsFunc(all, func(one *webhook.Delivery) bool { return one.ID == d.ID }) {
				err = errors.New("it is not among those of its task")
			}
			return err
		},
	} {
		for look := range int32(4) {
			t.Run(fmt.Sprint(what, ", recorded before look ", look+1), func(t *testing.T) {
				h := newHouse(t)
				one := newTask(task.KindAction, 0)
				one.Callback = &task.Callback{URL: "https://receiver.example/"}
				h.save(one)
				h.finish(one.ID, `{}`)
				d := newDelivery()
				d.EventID, d.Source, d.Type = string(one.ID)+"-completed", webhook.Source(one.ID), "action.completed"
				d.ID = webhook.NewDeliveryID(d.EventID, webhook.Callback)
				if err := h.st.Deliveries.Enqueue(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				queue, err := h.js().Stream(t.Context(), topology.Deliveries)
				if err != nil {
					t.Fatal(err)
				}
				var looks atomic.Int32
				wire := &meshtest.Wire{Server: h.srv.Server}
				wire.Look = func(subject string) {
					switch subject {
					case "$JS.API.STREAM.MSG.GET." + topology.Deliveries, "$JS.API.STREAM.MSG.GET." + topology.BucketStream(topology.DeliveriesBucket):
					default:
						return
					}
					if looks.Add(1) != look+1 {
						return
					}
					err := h.st.Deliveries.Save(t.Context(), d)
					if err == nil { // and its message is acknowledged
						err = queue.Purge(t.Context(), jetstream.WithPurgeSubject(topology.DeliveryDue(d.Tenant, d.ID)))
					}
					if err != nil {
						t.Error(err)
					}
				}
				st, hangUp, err := (&meshtest.Mesh{T: t, Server: h.srv}).StoreOver(wire)
				if err != nil {
					t.Fatal(err)
				}
				defer hangUp()
				if err := found(mesh.New(st, mesh.Options{Log: quiet()}), d); err != nil {
					t.Errorf("after %d looks: %v", looks.Load(), err)
				}
			})
		}
	}
}
