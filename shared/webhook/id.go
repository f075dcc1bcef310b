package webhook

import (
	"crypto/sha256"

	"agentmesh/shared/ids"
	"agentmesh/shared/schedule"
	"agentmesh/shared/task"
)

// ID names a webhook.
type ID string

// DeliveryID names a delivery. It is the webhook-id that receivers see.
type DeliveryID string

const (
	prefix         = "whk_"
	deliveryPrefix = "dlv_"
	keyPrefix      = "key_"
)

// NewID makes the id of a webhook from a UUIDv7.
func NewID(uuid [16]byte) ID { return ID(ids.New(prefix, uuid)) }

// Valid reports whether id is one of a webhook.
func (id ID) Valid() bool { return ids.Valid(string(id), prefix) }

// NewKeyID makes the id of a signing key from a UUIDv7.
func NewKeyID(uuid [16]byte) string { return ids.New(keyPrefix, uuid) }

// NewDeliveryID is the id of an event's delivery to a receiver: a webhook's id, or
// for a callback Callback. It is the same after any crash.
func NewDeliveryID(eventID, receiver string) DeliveryID {
	sum := sha256.Sum256([]byte(eventID + "\n" + receiver))
	return DeliveryID(ids.New(deliveryPrefix, [16]byte(sum[:16])))
}

// Valid reports whether id is one of a delivery.
func (id DeliveryID) Valid() bool { return ids.Valid(string(id), deliveryPrefix) }

// Source names what a delivery tells of: a task, a schedule, or of a test the webhook.
type Source string

// Valid reports whether s names one of them.
func (s Source) Valid() bool { return task.ID(s).Valid() || ID(s).Valid() || schedule.ID(s).Valid() }
