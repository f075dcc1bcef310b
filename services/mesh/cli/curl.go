package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// request is a request to the gateway as --curl prints it.
type request struct {
	method, path string
	body         any // nil: none
	headers      []string
}

func get(path string, headers ...string) []request {
	return []request{{method: http.MethodGet, path: path, headers: headers}}
}

func post(path string, body any, headers ...string) []request {
	return []request{{method: http.MethodPost, path: path, body: body, headers: headers}}
}

func patch(path string, body any) []request {
	return []request{{method: http.MethodPatch, path: path, body: body}}
}

func put(path string, body any) []request {
	return []request{{method: http.MethodPut, path: path, body: body}}
}

func remove(path string) []request { return []request{{method: http.MethodDelete, path: path}} }

// at is a path of these segments.
func at(segments ...string) string {
	var path strings.Builder
	for _, s := range segments {
		path.WriteString("/" + url.PathEscape(s))
	}
	return path.String()
}

// with is a path with a query, if there is one.
func with(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// open makes a client of the gateway. With --curl it prints the requests instead,
// and there is no client.
func (f *clientFlags) open(cmd *cobra.Command, requests ...request) (*client.Client, error) {
	c, err := f.client()
	if err != nil || !f.curl {
		return c, err
	}
	for _, r := range requests {
		line, err := f.curlOf(r)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// curlOf is a request as a curl command.
func (f *clientFlags) curlOf(r request) (string, error) {
	parts := append([]string{"curl", "-sS"}, f.secure.curl()...)
	if f.key != "" {
		parts = append(parts, "-H", `"Authorization: Bearer $MESH_API_KEY"`) // nobody is to see the key
	}
	if f.tenant != "" {
		parts = append(parts, "-H", shellQuote("Mesh-Tenant: "+f.tenant))
	}
	if usual := map[bool]string{false: http.MethodGet, true: http.MethodPost}[r.body != nil]; r.method != usual {
		parts = append(parts, "-X", r.method)
	}
	for _, h := range r.headers {
		parts = append(parts, "-H", shellQuote(h))
	}
	if r.body != nil {
		var body bytes.Buffer
		if err := WriteJSON(&body, r.body); err != nil {
			return "", err
		}
		parts = append(parts, "-H", shellQuote("Content-Type: application/json"), "-d", shellQuote(strings.TrimSuffix(body.String(), "\n")))
	}
	return strings.Join(append(parts, shellQuote(strings.TrimSuffix(f.gateway, "/")+r.path)), " "), nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
