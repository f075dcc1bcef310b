package gateway

import "agentmesh/shared/webhook"

// shownURL is a URL without what may be a secret: a record of an earlier version
// has it whole.
func shownURL(url string) string {
	shown, _ := webhook.ShownURL(url)
	return shown
}
