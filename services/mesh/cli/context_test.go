package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked is a gateway that notes the key that it was sent.
func asked(t *testing.T, keys *[]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*keys = append(*keys, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(`{"agents":[],"ready":true}`))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// Commands talk to the mesh that was chosen, with its key, and send a key to no
// other address.
func TestContextsKeepURLAndKeyOfSeveralMeshes(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	var prodKeys, testKeys []string
	prod, test := asked(t, &prodKeys), asked(t, &testKeys)
	keyFile := filepath.Join(home, "key")
	if err := os.WriteFile(keyFile, []byte("amk_prod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"context", "list"}, 0, "NAME"},
		{[]string{"context", "use", "prod"}, 2, "there are: none"},
		{[]string{"context", "add", "prod", prod, "--key", "@" + keyFile}, 0, ""},
		{[]string{"context", "add", "test", "--gateway", test}, 0, ""},
		{[]string{"context", "add", "bad", "mesh.example.com"}, 2, "must look like"},
		{[]string{"context", "add", "../bad", prod}, 2, "must match"},
		{[]string{"context", "add"}, 2, "a name and a URL"},
		{[]string{"context", "list"}, 0, "prod  yes      yes  " + prod},
		{[]string{"agents", "list"}, 0, ""},
		{[]string{"agents", "list", "--context", "test"}, 0, ""},
		{[]string{"agents", "list", "--gateway", test}, 0, ""},
		{[]string{"agents", "list", "--gateway", test, "--context", "prod"}, 2, "choose one"},
		{[]string{"agents", "list", "--context", "nope"}, 2, "there are: prod, test"},
		{[]string{"agents", "list", "--curl"}, 0, `"Authorization: Bearer $MESH_API_KEY"`},
		{[]string{"context", "use", "test"}, 0, ""},
		{[]string{"agents", "list"}, 0, ""},
		{[]string{"context", "delete", "test"}, 0, ""},
		{[]string{"context", "list", "-o", "json"}, 0, `[{"name":"prod","url":"` + prod + `","current":false,"has_key":true}]`},
	} {
		code, out, errs := cli(t, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) || strings.Contains(out+errs, "amk_") {
			t.Errorf("mesh %s: exit %d\n%s%s\nwant %d and %s", strings.Join(tt.args, " "), code, out, errs, tt.code, tt.want)
		}
	}
	if got := strings.Join(prodKeys, ","); got != "Bearer amk_prod" {
		t.Errorf("prod was sent %s", got)
	}
	if got := strings.Join(testKeys, ","); got != ",," {
		t.Errorf("test was sent %s", got)
	}
	file := filepath.Join(home, "agentmesh", "contexts.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, env := range []struct{ name, value, sent string }{
		{"MESH_CONTEXT", "prod", "Bearer amk_prod"}, {"MESH_GATEWAY_URL", prod, ""}, {"MESH_API_KEY", "amk_other", "Bearer amk_other"},
	} {
		t.Setenv(env.name, env.value)
		if code, _, errs := cli(t, "agents", "list"); code != 0 || prodKeys[len(prodKeys)-1] != env.sent {
			t.Errorf("%s=%s: exit %d %s, sent %q", env.name, env.value, code, errs, prodKeys[len(prodKeys)-1])
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cli(t, "context", "list"); code != 1 || !strings.Contains(errs, file) {
		t.Errorf("a broken file: exit %d %s", code, errs)
	}
}
