package topology

import (
	"strings"

	"agentmesh/shared/task"
)

// PushesBucket is the bucket of push configurations. They are no webhooks: a notifier
// of the version before reads all of those.
const PushesBucket = "pushes"

// Push is the subject of a push configuration of a task.
func Push(tenant string, id task.ID, name string) string {
	return "$KV." + PushesBucket + "." + tenant + "." + string(id) + "." + name
}

// PushesOf matches the push configurations of a task.
func PushesOf(tenant string, id task.ID) string { return Push(tenant, id, "*") }

// PushesAll matches the push configurations of all tasks.
const PushesAll = "$KV." + PushesBucket + ".>"

// RecordOwner is the tenant and the id, parted by a dot, of the task that the record
// on a subject is of: a task's own, or a push configuration. Empty: of none.
func RecordOwner(subject string) string {
	key, own := strings.CutPrefix(subject, "$KV."+TasksBucket+".")
	if !own {
		if key, own = strings.CutPrefix(subject, "$KV."+PushesBucket+"."); !own {
			return ""
		}
	}
	tenant, rest, two := strings.Cut(key, ".")
	if !two {
		return ""
	}
	id, _, _ := strings.Cut(rest, ".")
	return key[:len(tenant)+1+len(id)]
}
