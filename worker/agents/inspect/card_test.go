package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const goodCard = `{
	"name": "research", "description": "Reads the news", "version": "1.2.0",
	"provider": {"url": "https://example.com", "organization": "Example"},
	"supportedInterfaces": [
		{"url": "https://agents.example.com/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
		{"url": "https://agents.example.com/v1", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
		{"url": "agents.example.com:443", "protocolBinding": "GRPC", "protocolVersion": "1.0"}],
	"capabilities": {"streaming": true, "extensions": [{"uri": "urn:x", "required": false, "params": {}}]},
	"defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain", "application/json"],
	"skills": [{"id": "news", "name": "News", "description": "Reads", "tags": ["news"]}],
	"securitySchemes": {"bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer"}}, "o": {"oauth2SecurityScheme": {"flows": {}}}},
	"securityRequirements": [{"schemes": {"bearer": {"list": []}}}]
}`

// change sets a member of the card by its path; nil removes it.
func change(t *testing.T, path string, v any) []byte {
	t.Helper()
	var card any
	if err := json.Unmarshal([]byte(goodCard), &card); err != nil {
		t.Fatal(err)
	}
	at, steps := card, strings.Split(path, ".")
	for i, step := range steps {
		last := i == len(steps)-1
		if list, ok := at.([]any); ok {
			n := int(step[0] - '0')
			if last {
				list[n] = v
			} else {
				at = list[n]
			}
			continue
		}
		m := at.(map[string]any)
		switch {
		case last && v == nil:
			delete(m, step)
		case last:
			m[step] = v
		default:
			at = m[step]
		}
	}
	raw, err := json.Marshal(card)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func rowsOf(r *Report) (text string) {
	for _, row := range r.Rows {
		text += fmt.Sprintf("%s %s: %s\n", row.Status, row.Check, row.Says)
	}
	return text
}

func TestACardIsSaidWhatIsWrongWithIt(t *testing.T) {
	good := newReport(A2A, "x")
	if all := checkCard(good, []byte(goodCard)); len(all) != 2 || !good.done().OK || strings.Contains(rowsOf(good), "warning") {
		t.Errorf("a good card: %v\n%s", all, rowsOf(good))
	}
	object := map[string]any{}
	for _, tt := range []struct {
		path string
		v    any
		want string
	}{
		{"name", nil, "fault name: it is missing"},
		{"name", "", "fault name: it must not be empty"},
		{"name", 7, "fault name: it must be a text, it is a number"},
		{"description", "good\u200bbad", "warning description: it has characters that nobody sees, such as U+200B"},
		{"description", "a\x1b[2J", "warning description: it has characters"},
		{"version", nil, "fault version: it is missing"},
		{"provider.organization", nil, "fault provider.organization: it is missing"},
		{"provider.url", "example", "fault provider.url:"},
		{"supportedInterfaces", nil, "fault supportedInterfaces: it is missing"},
		{"supportedInterfaces", []any{}, "fault supportedInterfaces: it must have at least one element"},
		{"supportedInterfaces", object, "fault supportedInterfaces: it must be a list, it is an object"},
		{"supportedInterfaces.0", "x", "fault supportedInterfaces[0]: it must be an object, it is a text"},
		{"supportedInterfaces.0.url", "/rpc", "fault supportedInterfaces[0].url:"},
		{"supportedInterfaces.0.url", "javascript:alert(1)", "fault supportedInterfaces[0].url:"},
		{"supportedInterfaces.0.url", "https://a:b@example.com/", "fault supportedInterfaces[0].url: it has a password"},
		{"supportedInterfaces.0.url", "http://example.com/", "warning supportedInterfaces[0].url: it is not encrypted"},
		{"supportedInterfaces.0.protocolBinding", nil, "fault supportedInterfaces[0].protocolBinding: it is missing"},
		{"supportedInterfaces.0.protocolBinding", "jsonrpc", "warning supportedInterfaces[0].protocolBinding:"},
		{"supportedInterfaces.0.protocolVersion", nil, "fault supportedInterfaces[0].protocolVersion: it is missing"},
		{"supportedInterfaces.0.protocolVersion", "1", "fault supportedInterfaces[0].protocolVersion: \"1\" must be MAJOR.MINOR"},
		{"capabilities", nil, "fault capabilities: it is missing"},
		{"capabilities.streaming", "yes", "fault capabilities.streaming: it must be true or false, it is a text"},
		{"capabilities.extensions.0.uri", nil, "fault capabilities.extensions[0].uri: it is missing"},
		{"capabilities.extensions.0.required", true, "warning capabilities.extensions[0].required: clients that do not have"},
		{"defaultInputModes", []any{}, "fault defaultInputModes: it must have at least one element"},
		{"defaultOutputModes.0", "text", "fault defaultOutputModes[0]: \"text\" is no media type"},
		{"default_input_modes", []any{}, ""},
		{"skills", []any{}, "fault skills: it must have at least one element"},
		{"skills.0.tags", nil, "fault skills[0].tags: it is missing"},
		{"skills.0.tags", []any{1}, "fault skills[0].tags[0]: it must be a text"},
		{"skills.0.id", nil, "fault skills[0].id: it is missing"},
		{"securitySchemes.bearer", map[string]any{"type": "http", "scheme": "bearer"}, "fault securitySchemes.bearer: it has the form of A2A 0.3"},
		{"securitySchemes.bearer", object, "fault securitySchemes.bearer: it must have one member, it has 0"},
		{"securitySchemes.bearer", map[string]any{"magic": object}, "fault securitySchemes.bearer.magic: there is no such scheme"},
		{"securitySchemes.bearer.httpAuthSecurityScheme.scheme", nil, "fault securitySchemes.bearer.httpAuthSecurityScheme.scheme: it is missing"},
		{"securitySchemes.bearer", map[string]any{"apiKeySecurityScheme": map[string]any{"location": "body", "name": "k"}}, "location: \"body\" must be query, header or cookie"},
		{"securitySchemes.o.oauth2SecurityScheme.flows", nil, "fault securitySchemes.o.oauth2SecurityScheme.flows: it is missing"},
		{"securityRequirements.0.schemes", map[string]any{"oidc": object}, "fault securityRequirements[0].schemes.oidc: securitySchemes has no scheme"},
		{"signatures", []any{map[string]any{"protected": "e30", "signature": "AAAA"}}, "fault signatures[0].protected:"},
		{"signatures", []any{map[string]any{"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "AAAA"}}, "skipped signatures: 1, whose keys"},
		{"url", "https://example.com", "warning url: it is of A2A 0.3"},
	} {
		r := newReport(A2A, "x")
		checkCard(r, change(t, tt.path, tt.v))
		if text := rowsOf(r); !strings.Contains(text, tt.want) || r.done().OK == strings.Contains(text, "fault ") {
			t.Errorf("%s = %v: %s\nwant %s", tt.path, tt.v, text, tt.want)
		}
	}
	r := newReport(A2A, "x")
	checkCard(r, []byte(strings.Replace(goodCard, "supportedInterfaces", "supported_interfaces", 1)))
	if !strings.Contains(rowsOf(r), `there is "supported_interfaces", which nobody reads`) {
		t.Error(rowsOf(r))
	}
}

func TestAHostileCardIsReadWithinBounds(t *testing.T) {
	many := `{"skills":[` + strings.TrimSuffix(strings.Repeat(`{"id":7},`, 50_000), ",") + `]}`
	for name, tt := range map[string]struct{ card, want string }{
		"many":   {many, "more: "},
		"deep":   {strings.Repeat(`{"a":`, 100_000), "no JSON"},
		"twice":  {`{"name":"a","name":"b"}`, "warning card: a member stands twice"},
		"text":   {`"card"`, "it must be an object, it is a text"},
		"null":   {`null`, "it must be an object, it is null"},
		"html":   {`<html>`, "no JSON"},
		"empty":  {``, "no JSON"},
		"nulls":  {`{"name":null,"skills":[null],"securitySchemes":{"a":null},"securityRequirements":[{"schemes":null}]}`, "fault name: it is missing"},
		"wide":   {`{"name":"` + strings.Repeat("n", 1<<20) + `"}`, "fault description"},
		"number": {`{"version":1e999}`, "no JSON"},
	} {
		r := newReport(A2A, "x")
		checkCard(r, []byte(tt.card))
		got := r.done()
		if text := rowsOf(&got); got.OK || !strings.Contains(text, tt.want) || len(text) > 200_000 || len(got.Rows) > maxRows+1 {
			t.Errorf("%s: %d rows, %.400s", name, len(got.Rows), text)
		}
	}
}
