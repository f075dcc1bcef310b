package client_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
)

// leftOut are the operations that this client has no method for, and why. Those in other
// languages have all: their methods are made from the document.
var leftOut = map[string]string{
	"getIndex":        "it lists the routes, for people",
	"healthz":         "it is for probes",
	"readyz":          "it is for probes",
	"receiveHook":     "the senders of others call it",
	"getAction":       "an action is a task: Tasks.Get",
	"getActionResult": "an action is a task: Tasks.Result",
	"getActionInput":  "an action is a task: Tasks.Input",
	"answerAction":    "an action is a task: Tasks.Answer",
	"cancelAction":    "an action is a task: Tasks.Cancel",
	"retryAction":     "an action is a task: Tasks.Retry",
	"actionEvents":    "an action is a task: Tasks.Events",
	"actionSteps":     "an action is a task: Tasks.Steps",
	"cancelTurn":      "a turn is a task: Tasks.Cancel",
}

// Each operation of the document is a method, or is left out for a reason. The methods
// are called one after the other, and what they ask for is looked at.
func TestEachOperationIsAMethod(t *testing.T) {
	raw, err := os.ReadFile("../testdata/openapi.json")
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	asked := everythingAsked(t)
	parameter := regexp.MustCompile(`\\\{[^}]*\\\}`)
	known := map[string]bool{}
	for path, methods := range doc.Paths {
		pattern := regexp.MustCompile("^" + parameter.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
		for method, op := range methods {
			known[op.OperationID] = true
			_, out := leftOut[op.OperationID]
			called := slices.ContainsFunc(asked, func(r string) bool {
				verb, target, _ := strings.Cut(r, " ")
				return strings.EqualFold(verb, method) && pattern.MatchString(target)
			})
			switch {
			case !called && !out:
				t.Errorf("no method calls %s (%s %s): write one, or say in leftOut why there is none", op.OperationID, strings.ToUpper(method), path)
			case called && out:
				t.Errorf("a method calls %s: take it out of leftOut", op.OperationID)
			}
		}
	}
	for id := range maps.Keys(leftOut) {
		if !known[id] {
			t.Errorf("the document has no operation %s", id)
		}
	}
}

// everythingAsked are the requests of all methods of the client and its nouns.
func everythingAsked(t *testing.T) (asked []string) {
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.EscapedPath())
		mu.Unlock()
		if strings.Contains(r.Header.Get("Accept"), "event-stream") {
			w.WriteHeader(http.StatusNoContent) // there is nothing to tell
			return
		}
		_, _ = io.WriteString(w, `{"status":"completed","done":true}`)
	}))
	defer server.Close()
	c, err := client.New(server.URL, client.WithKey("amk_test"))
	if err != nil {
		t.Fatal(err)
	}
	var callAll func(v reflect.Value)
	callAll = func(v reflect.Value) {
		for i := range v.NumMethod() {
			callOnce(t, v.Type().Method(i).Name, v.Method(i))
		}
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && v.Field(i).Kind() != reflect.String {
				callAll(v.Field(i))
			}
		}
	}
	callAll(reflect.ValueOf(c))
	return asked
}

// callOnce calls a method with some values, and reads the first of what it iterates.
func callOnce(t *testing.T, name string, m reflect.Value) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var in []reflect.Value
	for i := range m.Type().NumIn() {
		if m.Type().IsVariadic() && i == m.Type().NumIn()-1 {
			break
		}
		in = append(in, some(ctx, m.Type().In(i)))
	}
	for _, out := range m.Call(in) {
		if out.Kind() != reflect.Func || out.IsNil() || out.Type().NumIn() != 1 || out.Type().In(0).Kind() != reflect.Func {
			continue
		}
		yield := out.Type().In(0)
		out.Call([]reflect.Value{reflect.MakeFunc(yield, func([]reflect.Value) []reflect.Value {
			return []reflect.Value{reflect.ValueOf(false)}
		})})
	}
	if ctx.Err() != nil {
		t.Errorf("%s does not return", name)
	}
}

// some is a value of a type.
func some(ctx context.Context, of reflect.Type) reflect.Value {
	for _, v := range []any{ctx, json.RawMessage(`{}`), time.Second} {
		if reflect.TypeOf(v).AssignableTo(of) {
			return reflect.ValueOf(v)
		}
	}
	switch of.Kind() {
	case reflect.String:
		return reflect.ValueOf("x").Convert(of)
	case reflect.Slice:
		return reflect.Append(reflect.Zero(of), some(ctx, of.Elem()))
	case reflect.Pointer:
		return reflect.New(of.Elem())
	}
	return reflect.Zero(of)
}
