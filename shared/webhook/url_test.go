package webhook_test

import (
	"testing"

	"agentmesh/shared/webhook"
)

func TestAURLIsShownWithoutWhatMayBeASecret(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.com/hook":             "https://example.com/hook",
		"https://example.com/hook?k=v&a":       "https://example.com/hook?k=***&***",
		"https://example.com/hook?k=v=w&k=%2f": "https://example.com/hook?k=***&k=***",
		"https://me:pass@example.com/hook?":    "https://hidden@example.com/hook?",
		"https://example.com/\x7f?k=v":         "***",
	} {
		shown, secret := webhook.ShownURL(raw)
		if shown != want || secret != (want != raw) {
			t.Errorf("%s is shown as %s, secret %v; want %s", raw, shown, secret, want)
		}
		if again, _ := webhook.ShownURL(shown); again != shown {
			t.Errorf("%s is shown again as %s", shown, again)
		}
		if hides := webhook.HidesSecret(shown); hides != (want == "https://example.com/hook?k=***&***" || want == "https://example.com/hook?k=***&k=***") {
			t.Errorf("%s hides a secret: %v", shown, hides)
		}
	}
}
