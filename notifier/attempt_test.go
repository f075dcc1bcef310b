package notifier

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// The record keeps whole characters of an answer, and none that the receiver did
// not send.
func TestAnAnswerIsCutBetweenCharacters(t *testing.T) {
	for body, want := range map[string]string{
		"short":   "short",
		"a\x1bb":  "a\uFFFDb",
		"tab\tok": "tab\tok",
		strings.Repeat("x", keepAnswer-3) + "\U0001F600\U0001F600":   strings.Repeat("x", keepAnswer-3),
		strings.Repeat("x", keepAnswer-4) + "\U0001F600\U0001F600":   strings.Repeat("x", keepAnswer-4) + "\U0001F600",
		strings.Repeat("x", keepAnswer) + strings.Repeat("y", 3<<10): strings.Repeat("x", keepAnswer),
	} {
		got := kept([]byte(body))
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%.20q... (%d bytes): kept %d bytes, ...%q, want %d", body, len(body), len(got), got[max(0, len(got)-8):], len(want))
		}
	}
}
