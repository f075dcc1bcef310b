package session

import (
	"agentmesh/shared/ids"
	"agentmesh/shared/task"
)

// ID names a session.
type ID string

const prefix = "ses_"

// NewID makes the id of a session from a UUIDv7.
func NewID(uuid [16]byte) ID { return ID(ids.New(prefix, uuid)) }

// Valid reports whether id is one of a session.
func (id ID) Valid() bool { return ids.Valid(string(id), prefix) }

// Of is the session that a turn belongs to, empty of any other task.
func Of(turn *task.Task) ID { return ID(turn.SessionID) }
