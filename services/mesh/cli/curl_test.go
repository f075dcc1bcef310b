package cli

import (
	"strings"
	"testing"
)

// Every command that calls a gateway prints its requests with --curl, sends none,
// and writes them so that they do what the command does.
func TestEveryCommandPrintsItsRequestsAsCurl(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string // of each line
	}{
		{"task run say&do", []string{`curl -sS -H 'Content-Type: application/json' -d '{"instruction":"say&do"}' '$/tasks'`}},
		{"task get a/b?c", []string{`curl -sS '$/tasks/a%2Fb%3Fc'`}},
		{"task watch a/b?c", []string{`curl -sS -H 'Accept: text/event-stream' '$/tasks/a%2Fb%3Fc/events'`}},
		{"task cancel a/b?c two", []string{`curl -sS -X POST '$/tasks/a%2Fb%3Fc/cancel'`, `curl -sS -X POST '$/tasks/two/cancel'`}},
		{"task retry a/b?c", []string{`curl -sS -X POST '$/tasks/a%2Fb%3Fc/retry'`}},
		{"task trace a/b?c", []string{`curl -sS '$/tasks/a%2Fb%3Fc'`, `curl -sS '$/tasks/a%2Fb%3Fc/steps?limit=200'`, `curl -sS '$/tasks/a%2Fb%3Fc/deliveries'`}},
		{"task list --agent x", []string{`curl -sS '$/tasks?`}},
		{"action deliveries a/b?c", []string{`curl -sS '$/actions/a%2Fb%3Fc/deliveries'`}},
		{"action redeliver a/b?c", []string{`curl -sS -X POST '$/actions/a%2Fb%3Fc/redeliver'`}},
		{"session list", []string{`curl -sS '$/sessions'`}},
		{"session show a/b?c", []string{`curl -sS '$/sessions/a%2Fb%3Fc'`, `curl -sS '$/sessions/a%2Fb%3Fc/messages'`}},
		{"session say a/b?c hi", []string{`curl -sS -H 'Content-Type: application/json' -d '{"on_busy":"reject","text":"hi"}' '$/sessions/a%2Fb%3Fc/messages'`}},
		{"session chat --session a/b?c", []string{`curl -sS -H 'Content-Type: application/json' -d '{"text":"TEXT"}' '$/sessions/a%2Fb%3Fc/messages'`}},
		{"session delete a/b?c", []string{`curl -sS -X DELETE '$/sessions/a%2Fb%3Fc'`}},
		{"webhook create http://h/?a=1&b=2", []string{`"url":"http://h/?a=1&b=2"`}},
		{"webhook update a/b?c --disable", []string{`curl -sS -X PATCH -H 'Content-Type: application/json' -d '{"enabled":false}' '$/webhooks/a%2Fb%3Fc'`}},
		{"webhook get a/b?c", []string{`curl -sS '$/webhooks/a%2Fb%3Fc'`}},
		{"webhook test a/b?c", []string{`curl -sS -X POST '$/webhooks/a%2Fb%3Fc/test'`}},
		{"webhook redeliver a/b?c", []string{`curl -sS -H 'Content-Type: application/json' -d '{}' '$/webhooks/a%2Fb%3Fc/redeliver'`}},
		{"delivery get a/b?c", []string{`curl -sS '$/deliveries/a%2Fb%3Fc'`}},
		{"events --type task.completed", []string{`curl -sS '$/events?type=task.completed'`}},
		{"listen --agents x", []string{`curl -sS '$/whoami'`, `curl -sS '$/.well-known/webhooks/jwks.json?tenant=TENANT'`, `"agents":["x"]`}},
		{"audit --action task.cancel --key-id k", []string{`curl -sS '$/audit?action=task.cancel&key_id=k`}},
		{"agents list", []string{`curl -sS '$/agents'`}},
		{"agents delete a/b?c", []string{`curl -sS -X DELETE '$/agents/a%2Fb%3Fc'`}},
		{"keys create --tenant a --scopes tasks:read,tasks:write --name ci", []string{`curl -sS -H 'Content-Type: application/json' -d '{"tenant":"a","scopes":["tasks:read","tasks:write"],"name":"ci"}' '$/keys'`}},
		{"keys list --tenant a", []string{`curl -sS '$/keys?tenant=a'`}},
		{"keys get a/b?c", []string{`curl -sS '$/keys/a%2Fb%3Fc'`}},
		{"keys revoke a/b?c --force", []string{`curl -sS -X DELETE '$/keys/a%2Fb%3Fc?force=true'`}},
		{"keys rotate a/b?c --overlap 1h", []string{`curl -sS -H 'Content-Type: application/json' -d '{"overlap":"1h0m0s"}' '$/keys/a%2Fb%3Fc/rotate'`}},
		{"tenants list", []string{`curl -sS '$/tenants'`}},
		{"tenants get a/b", []string{`curl -sS '$/tenants/a%2Fb'`}},
		{"tenants set acme --rate 0.5 --waits -1", []string{`curl -sS -X PUT -H 'Content-Type: application/json' -d '{"limits":{"rate":0.5,"waits":-1}}' '$/tenants/acme'`}},
		{"tenants delete acme", []string{`curl -sS -X DELETE '$/tenants/acme'`}},
		{"top", []string{`curl -sS '$/stats'`}},
		{"budgets", []string{`curl -sS '$/budgets'`}},
		{"whoami", []string{`curl -sS '$/whoami'`}},
		{"healthcheck", []string{`curl -sS '$/readyz'`}},
	} {
		code, out, errs := cli(t, append(strings.Split(tt.args, " "), "--curl", "--gateway", "http://127.0.0.1:1")...)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if code != 0 || len(lines) != len(tt.want) {
			t.Errorf("mesh %s: exit %d\n%s%s", tt.args, code, out, errs)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], strings.ReplaceAll(want, "$", "http://127.0.0.1:1")) {
				t.Errorf("mesh %s prints %s, want %s", tt.args, lines[i], want)
			}
		}
	}
}
