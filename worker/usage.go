package worker

import (
	"cmp"
	"strings"

	"agentmesh/shared/task"
)

// OutputAt implements agent.Meter. What is there already stays; where the text differs
// from it, the output is taken back to the first difference.
func (r *reports) OutputAt(offset int64, text string) {
	r.mu.Lock()
	kept := r.written - int64(len(r.tail)) // where the kept output begins
	offset = min(offset, r.written)
	from, end := max(offset, kept), min(r.written, offset+int64(len(text)))
	rewound := false
	for ; from < end; from++ {
		if r.tail[from-kept] != text[from-offset] {
			for from > kept && from > offset && text[from-offset]&0xC0 == 0x80 {
				from-- // to the beginning of the character
			}
			rewound = r.rewindLocked(from)
			break
		}
	}
	rest := text[min(max(0, r.written-offset), int64(len(text))):]
	c := task.OutputChunk{Attempt: r.attempt, Offset: r.written, Rewinds: r.rewinds, From: r.rewound}
	r.mu.Unlock()
	if rewound {
		r.publish(c)
	}
	r.Output(rest)
}

// OutputEnd implements agent.Meter.
func (r *reports) OutputEnd(offset int64) {
	r.mu.Lock()
	rewound := r.rewindLocked(offset)
	c := task.OutputChunk{Attempt: r.attempt, Offset: r.written, Rewinds: r.rewinds, From: r.rewound}
	r.mu.Unlock()
	if rewound {
		r.publish(c)
	}
}

// Reasoning implements agent.Thinker.
func (r *reports) Reasoning(offset int64, text string) {
	r.mu.Lock()
	c := task.OutputChunk{Attempt: r.attempt, Offset: r.written, Rewinds: r.rewinds, From: r.rewound, ThoughtAt: offset, Thought: strings.ToValidUTF8(text, "�")}
	r.mu.Unlock()
	r.publish(c)
}

// rewindLocked takes the output back to an offset.
func (r *reports) rewindLocked(to int64) bool {
	if to >= r.written {
		return false
	}
	kept := r.written - int64(len(r.tail))
	r.tail = r.tail[:max(0, to-kept)]
	r.written, r.rewound = to, to
	r.rewinds++
	r.touch()
	return true
}

// consumption is what an attempt has used, and the tasks that it has called.
type consumption struct {
	own       *task.Usage
	called    map[task.ID]task.Usage
	stoppedBy string
}

// Used implements agent.Meter.
func (r *reports) Used(u task.Usage, stoppedBy string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.usage.own, r.usage.stoppedBy = &u, cmp.Or(stoppedBy, r.usage.stoppedBy)
	r.touch()
}

// childUsed notes what a task has used that the job has called.
func (r *reports) childUsed(child *task.Task) (used task.Usage) {
	if child.UsageTotal == nil {
		return used
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.usage.called == nil {
		r.usage.called = map[task.ID]task.Usage{}
	}
	r.usage.called[child.ID] = *child.UsageTotal
	r.touch()
	return *child.UsageTotal
}

// into puts what was used into t. A run that goes on from where one before was counts
// from nothing again: until it has come as far, the record is right.
func (c consumption) into(t *task.Task) {
	if c.stoppedBy != "" {
		t.StoppedBy = c.stoppedBy
	}
	if c.own == nil && c.called == nil {
		return
	}
	var own, total task.Usage
	if c.own != nil {
		own = *c.own
	}
	total = own
	for _, u := range c.called {
		total = total.Add(u)
	}
	t.Usage, t.UsageTotal = further(t.Usage, own), further(t.UsageTotal, total)
}

func further(known *task.Usage, now task.Usage) *task.Usage {
	if known != nil && (known.ModelCalls > now.ModelCalls || known.ToolCalls > now.ToolCalls) {
		return known
	}
	if now == (task.Usage{}) {
		return nil
	}
	return &now
}
