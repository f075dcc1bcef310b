package task

import (
	"strings"

	"agentmesh/shared/ids"
)

// ID names a task. Its prefix says of which kind it is.
type ID string

// prefix is what the ids of tasks of a kind begin with.
func (k Kind) prefix() string {
	switch k {
	case KindAction:
		return "act_"
	case KindTurn:
		return "trn_"
	}
	return "tsk_"
}

// NewID makes the id of a task of a kind from a UUIDv7.
func NewID(kind Kind, uuid [16]byte) ID { return ID(ids.New(kind.prefix(), uuid)) }

// Valid reports whether id is one of ours. Anything else never reaches a subject.
func (id ID) Valid() bool {
	kind := id.Kind()
	return kind != "" && ids.Valid(string(id), kind.prefix())
}

// Kind is the kind of the task that id names by its prefix, empty where that is
// none of ours.
func (id ID) Kind() Kind {
	for _, kind := range Kinds {
		if strings.HasPrefix(string(id), kind.prefix()) {
			return kind
		}
	}
	return ""
}
