package topology

import "testing"

// A right counts when it covers all that a permission stands for, and no rule denies it.
func TestRightsCoverWhatARoleNeeds(t *testing.T) {
	for _, tt := range []struct {
		rule    Rule
		subject string
		want    bool
	}{
		{Rule{}, "a.b", true},
		{Rule{Allow: []string{"a.*"}}, "a.b", true},
		{Rule{Allow: []string{"a.*"}}, "a.*", true},
		{Rule{Allow: []string{"a.*"}}, "a.>", false},
		{Rule{Allow: []string{"a.>"}}, "a.*.c", true},
		{Rule{Allow: []string{"a.>"}}, "a", false},
		{Rule{Allow: []string{"a.b"}}, "a.*", false},
		{Rule{Allow: []string{"a.b"}}, "a.b.c", false},
		{Rule{Allow: []string{">"}, Deny: []string{"a.>"}}, "a.b", false},
		{Rule{Deny: []string{"b"}}, "a", true},
	} {
		if got := tt.rule.permits(tt.subject); got != tt.want {
			t.Errorf("%+v permits %s: %v", tt.rule, tt.subject, got)
		}
	}
	mine := Rights{Publish: Rule{Allow: []string{"$KV.>"}}, Subscribe: Rule{Allow: []string{"_INBOX.x.>"}}}
	lacks := mine.Lacks(Permissions{Publish: []string{"$KV.a", "mesh.b"}, Subscribe: []string{"_INBOX.y.>", "mesh.c"}})
	if len(lacks) != 2 || lacks[0] != "publish mesh.b" || lacks[1] != "subscribe mesh.c" {
		t.Errorf("it lacks %v", lacks)
	}
}
