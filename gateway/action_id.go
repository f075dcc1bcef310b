package gateway

import (
	"errors"
	"slices"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// ofActions makes the routes of tasks those of actions.
func ofActions(routes ...route) []route {
	for i, op := range routes {
		routes[i].problems = append(slices.Clone(op.problems), mesh.ErrActionNotFound)
		routes[i].handler = ofAction(op.handler)
	}
	return routes
}

// ofAction makes a handler of a task one of an action.
func ofAction(f handler) handler {
	return func(c *call) error {
		id := task.ID(c.inPath("id"))
		if !id.Valid() || id.Kind() != task.KindAction {
			return mesh.Refuse(mesh.ErrActionNotFound, "%q is not the id of an action.", mesh.Clip(id, 64))
		}
		err := f(c)
		if errors.Is(err, task.ErrNotFound) {
			return mesh.Refuse(mesh.ErrActionNotFound, "No action with this id is known, or it is past its retention of 7 days.")
		}
		return err
	}
}
