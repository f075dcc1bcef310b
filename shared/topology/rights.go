package topology

import (
	"slices"
	"strings"
)

// UserInfo is where a server is asked what the user of a connection may.
const UserInfo = "$SYS.REQ.USER.INFO"

// Rights are what a server lets a user do. One without any rule may everything.
type Rights struct {
	Publish   Rule `json:"publish"`
	Subscribe Rule `json:"subscribe"`
}

// Rule is one of them: nothing that it denies, and of the rest what it allows, or
// all where it allows nothing by name.
type Rule struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// Lacks are the permissions of p that a user with these rights has not got. Inboxes
// are left out: a connection chooses its own.
func (r Rights) Lacks(p Permissions) (all []string) {
	for _, s := range p.Publish {
		if !r.Publish.permits(s) {
			all = append(all, "publish "+s)
		}
	}
	for _, s := range p.Subscribe {
		if !strings.HasPrefix(s, inboxes) && !r.Subscribe.permits(s) {
			all = append(all, "subscribe "+s)
		}
	}
	return all
}

func (r Rule) permits(subject string) bool {
	covers := func(pattern string) bool { return covered(strings.Split(pattern, "."), strings.Split(subject, ".")) }
	return !slices.ContainsFunc(r.Deny, covers) && (len(r.Allow) == 0 || slices.ContainsFunc(r.Allow, covers))
}

// covered reports whether a pattern matches everything that a subject, which may have
// wildcards of its own, stands for.
func covered(pattern, subject []string) bool {
	for i, token := range pattern {
		switch {
		case token == ">":
			return len(subject) > i
		case i >= len(subject), subject[i] == ">":
			return false
		case token != "*" && token != subject[i]:
			return false
		}
	}
	return len(pattern) == len(subject)
}
