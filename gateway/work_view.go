package gateway

import (
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// workView is the work of a schedule or a hook as clients see it.
func workView(w task.Work) api.Work {
	v := api.Work{
		Agent: w.Agent, Instruction: w.Instruction, Labels: w.Labels, Metadata: w.Metadata, Timeout: duration(w.Timeout),
		CallbackURL: shownURL(w.CallbackURL), CallbackEvents: w.CallbackEvents, CallbackSecretRef: w.CallbackSecretRef,
	}
	if w.MaxAttempts > 0 {
		v.MaxAttempts = &w.MaxAttempts
	}
	return v
}

// work reads the work of a schedule or a hook, which the member task of its request has.
func (f *fields) work(w api.Work) task.Work {
	read := task.Work{
		Agent: w.Agent, Instruction: w.Instruction, Labels: w.Labels, Metadata: null(w.Metadata), Timeout: f.duration("/task/timeout", w.Timeout),
		CallbackURL: w.CallbackURL, CallbackEvents: w.CallbackEvents, CallbackSecretRef: w.CallbackSecretRef,
	}
	if time.Duration(read.Timeout) > task.MaxTimeout {
		f.faults = append(f.faults, mesh.Field(`it must be a duration such as "90s" or "5m", at most 24h`, "/task/timeout"))
	}
	if n := w.MaxAttempts; n != nil {
		if read.MaxAttempts = *n; *n < 1 || *n > task.MaxAttempts {
			f.faults = append(f.faults, mesh.Field("it must be 1 to "+strconv.Itoa(task.MaxAttempts)+"; leave it out for the agent's own", "/task/max_attempts"))
		}
	}
	return read
}
