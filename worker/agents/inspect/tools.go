package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"agentmesh/shared/schema"
)

// toolName is what a tool may be called.
var toolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// maxPages bounds a list that never ends.
const maxPages = 50

// tools reads the list of tools, and checks each.
func (s *server) tools(ctx context.Context) {
	var all []object
	cursor, seen := "", map[string]bool{}
	for page := 1; ; page++ {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		a, err := s.call(ctx, "tools/list", params, nil)
		if err != nil {
			s.r.fault("tools/list", "%v", err)
			return
		}
		if a.code == -32601 {
			s.r.skip("tools/list", "the server has no tools")
			return
		}
		o, ok := s.object("tools/list", a)
		if !ok {
			return
		}
		s.cached(o)
		if _, ok := typed[[]any](o, "tools", true, "a list"); ok {
			all = append(all, o.objects("tools", false)...)
		}
		cursor = o.text("nextCursor", false)
		if cursor == "" {
			break
		}
		if seen[cursor] || page == maxPages || len(all) >= maxList {
			s.r.warn("tools/list", "the list does not end: %d tools in %d pages were read", len(all), page)
			break
		}
		seen[cursor] = true
	}
	s.r.part("tools", func() string {
		names := map[string]bool{}
		for _, one := range all {
			checkTool(one, names)
		}
		return fmt.Sprintf("%d tools", len(all))
	})
}

// checkTool checks what a server says of a tool. Its words go into models.
func checkTool(o object, seen map[string]bool) {
	name := o.text("name", true)
	if name != "" {
		o.at = "tool " + name
	}
	if name != "" && !toolName.MatchString(name) {
		o.r.fault(o.where("name"), "%q must be 1 to 64 of A-Z a-z 0-9 _ . -", name)
	}
	if seen[name] && name != "" {
		o.r.fault(o.where("name"), "it stands twice")
	}
	seen[name] = true
	o.text("title", false)
	if o.text("description", false) == "" {
		o.r.warn(o.where("description"), "there is none: models choose tools by it")
	}
	o.form("inputSchema", true)
	o.form("outputSchema", false)
	if a, ok := o.child("annotations", false); ok {
		a.text("title", false)
		for _, hint := range []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
			a.flag(hint)
		}
	}
}

// form is a member that is the schema of an object.
func (o object) form(name string, must bool) {
	s, ok := o.child(name, must)
	if !ok {
		return
	}
	if kind, _ := s.m["type"].(string); kind != "object" {
		o.r.fault(s.where("type"), "it must be \"object\"")
	}
	raw, err := json.Marshal(s.m)
	if err == nil {
		_, err = schema.Compile(raw)
	}
	if err != nil {
		o.r.fault(s.at, "it is no JSON Schema that stands alone: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	describe(s, 0)
}

// describe reads the texts of a schema: they go into models, too.
func describe(s object, depth int) {
	if depth > 8 {
		return
	}
	s.text("description", false)
	all, ok := s.m["properties"].(map[string]any)
	if !ok {
		return
	}
	for _, name := range (object{m: all}).names() {
		if m, ok := all[name].(map[string]any); ok {
			describe(object{s.r, s.where(name), m}, depth+1)
		}
	}
}
