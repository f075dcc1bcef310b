package task

import "fmt"

// Annotations are hints of an agent's author about what it does; nil says nothing.
type Annotations struct {
	ReadOnly    *bool `json:"read_only_hint,omitempty"`   // it changes nothing
	Destructive *bool `json:"destructive_hint,omitempty"` // what it changes may be lost
	Idempotent  *bool `json:"idempotent_hint,omitempty"`  // the same input again changes nothing more
	OpenWorld   *bool `json:"open_world_hint,omitempty"`  // it reaches beyond what its author knows; as a tool: true
}

// AsTool is what an agent asks of clients of MCP.
type AsTool struct {
	Tasks TaskSupport `json:"tasks,omitempty"`
}

// TaskSupport is whether a client must know the tasks extension to call an agent.
type TaskSupport string

// The ways: a client without it is held until the end, or for a while; or is refused.
const (
	TasksOptional TaskSupport = "optional" // as when left out
	TasksRequired TaskSupport = "required"
)

// Valid reports whether it is one of them; empty is the first.
func (s TaskSupport) Valid() bool { return s == "" || s == TasksOptional || s == TasksRequired }

func (t AsTool) validate() error {
	if !t.Tasks.Valid() {
		return fmt.Errorf("mcp.tasks is %q, allowed are optional and required", t.Tasks)
	}
	return nil
}
