package topology

import "agentmesh/shared/hook"

// HooksBucket is the bucket of hooks and of their logs.
const HooksBucket = "hooks"

// Hook is the subject of a hook's record. Whoever knocks says the id only: then the
// tenant is *.
func Hook(tenant string, id hook.ID) string {
	return "$KV." + HooksBucket + "." + tenant + "." + string(id)
}

// HookRecent is the subject of a hook's log, beside its record.
func HookRecent(tenant string, id hook.ID) string { return Hook(tenant, id) + ".recent" }

// SessionKey is the subject that says which session belongs to a key. Its owner, a hook
// or a protocol, gives the keys: one of the sessions bucket beside the records, which
// lives as long as they do.
func SessionKey(tenant, owner, hash string) string {
	return "$KV." + SessionsBucket + "." + tenant + "." + owner + "." + hash
}
