package topology

import (
	"time"

	"agentmesh/shared/task"
)

// UsageBucket is the bucket of what tenants have used of their budgets.
const UsageBucket = "usage"

// UsageRetention is how long an account is kept after its last change.
const UsageRetention = 400 * 24 * time.Hour

// UsageAccount is the subject of the account of a tenant for a period that begins at a
// time.
func UsageAccount(tenant string, p task.Period, start time.Time) string {
	return usageOf(tenant, string(p)+"-"+start.UTC().Format("2006-01-02T15"))
}

func usageOf(tenant, period string) string {
	return "$KV." + UsageBucket + "." + tenant + "." + period
}
