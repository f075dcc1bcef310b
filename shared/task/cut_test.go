package task_test

import (
	"testing"

	"agentmesh/shared/task"
)

// A text is cut between characters, and one that was clipped says so.
func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, tt := range []struct {
		text      string
		n         int
		cut, clip string
	}{
		{"short", 5, "short", "short"},
		{"a\U0001F600b", 1, "a", "a…"},
		{"a\U0001F600b", 4, "a", "a…"},
		{"a\U0001F600b", 5, "a\U0001F600", "a\U0001F600…"},
		{"a\xffb", 9, "a\uFFFDb", "a\uFFFDb"},
		{"x", 0, "", "…"},
	} {
		if got := task.Cut(tt.text, tt.n); got != tt.cut {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.cut)
		}
		if got := task.Clip(tt.text, tt.n); got != tt.clip {
			t.Errorf("Clip(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.clip)
		}
	}
}
