package topology

import (
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
)

// Steps is the stream of the journals of tasks: what their agents have finished.
const Steps = "MESH_STEPS"

// Step is the subject of one entry of a task's journal, see [task.Slot].
func Step(tenant string, id task.ID, slot string) string {
	return "mesh.steps." + tenant + "." + string(id) + "." + slot
}

// StepsOf matches the journal of a task. Every write of a journal names this very
// filter as what it builds on: on several nodes the server knows writes that are in
// flight by the text of their filter.
func StepsOf(tenant string, id task.ID) string {
	return "mesh.steps." + tenant + "." + string(id) + ".>"
}

// StepsAll matches the journals of all tasks.
const StepsAll = "mesh.steps.>"

// StepEvents is the core subject on which the server republishes each entry of a
// task's journal, at most once.
func StepEvents(tenant string, id task.ID) string {
	return "mesh.stepevents." + tenant + "." + string(id) + ".*"
}

// StepTask is the task whose journal a subject is of.
func StepTask(subject string) (tenant string, id task.ID, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 5 || parts[0] != "mesh" || parts[1] != "steps" {
		return "", "", false
	}
	return parts[2], task.ID(parts[3]), true
}

// steps is the config of their stream. An entry is kept until the journal is purged:
// a task may wait for longer than any age.
func steps() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: Steps, Subjects: []string{"mesh.steps.*.*.*"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, MaxConsumers: maxConsumers, Duplicates: DedupeWindow,
		RePublish: &jetstream.RePublish{Source: "mesh.steps.*.*.*", Destination: "mesh.stepevents.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"},
	}
}
