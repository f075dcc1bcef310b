package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/mesh"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

func TestWildNumbersAreRefusedBeforeASchemaSeesThem(t *testing.T) {
	h := bare()
	long := strings.Repeat("7", 401)
	for number, ok := range map[string]bool{
		"1e400": true, "1E-400": true, "-1.5e+0400": true, strings.Repeat("7", 400): true, "-0." + strings.Repeat("7", 399): true, `"1e999999"`: true, `"\"1e999999"`: true, "0": true,
		"1e401": false, "1e-401": false, "1e1000001": false, "1E+99999999999999999999": false, "0e999999": false, long: false, "-" + long: false, "0." + long: false, long + "e1": false,
	} {
		for body, pointer := range map[string]string{
			`{"instruction":"x","timeout":"?","input":[0,{"a/b":` + number + `}]}`: "/input/1/a~1b",
			`{"instruction":"x","timeout":"?","metadata":` + number + `}`:          "/metadata",
		} {
			w, p := refusal(t, h, "POST", "/tasks", body)
			if ok && p.Code != "validation_failed" || !ok && (w.Code != 422 || p.Code != "number_out_of_range" || p.Errors[0].Pointer != pointer) {
				t.Errorf("%s = %d %+v", mesh.Clip(body, 100), w.Code, p)
			}
		}
	}
	if w, p := refusal(t, h, "POST", "/sessions/ses_1/messages", `{"text":"x","on_busy":1e999}`); p.Code != "number_out_of_range" {
		t.Errorf("= %d %+v", w.Code, p)
	}
}

func TestTheSameValueIsTheSameRequest(t *testing.T) {
	same := []string{
		`{"agent":"echo","input":{"a":[1,2.50,"é"],"b":null}}`,
		"{\n \"input\" : {\"b\":null, \"a\":[1.0,2.5,\"\\u00e9\"]},\t\"agent\":\"echo\"}\n",
		`{"agent":"echo","input":{"a":[1e0,25e-1,"é"],"b":null}}`,
	}
	for _, body := range same {
		if mesh.Canonical([]byte(body)) != mesh.Canonical([]byte(same[0])) {
			t.Errorf("%s is another request: %s", body, mesh.Canonical([]byte(body)))
		}
	}
	for _, two := range [][2]string{{`[1,2]`, `[2,1]`}, {`{"n":9007199254740993}`, `{"n":9007199254740992}`}, {`{"a":1}`, `{"a":"1"}`}, {`{"a":null}`, `{}`}} {
		if mesh.Canonical([]byte(two[0])) == mesh.Canonical([]byte(two[1])) {
			t.Errorf("%s and %s are one request", two[0], two[1])
		}
	}
}

// bombs take for ever to check, each in its way.
func bombs() map[string][2]string {
	deep := `{"$defs":{"a0":{"type":"integer"}`
	for i := 1; i < 40; i++ {
		ref := `{"$ref":"#/$defs/a` + fmt.Sprint(i-1) + `"}`
		deep += `,"a` + fmt.Sprint(i) + `":{"allOf":[` + ref + `,` + ref + `]}`
	}
	return map[string][2]string{
		"references that double": {deep + `},"$ref":"#/$defs/a39"}`, `7`},
		"a tree read twice":      {`{"properties":{"a":{"$ref":"#"}},"anyOf":[{"properties":{"a":{"$ref":"#"}}},{"type":"object"}]}`, strings.Repeat(`{"a":`, 60) + `1` + strings.Repeat(`}`, 60)},
	}
}

func TestCheckingAnInputEndsInTime(t *testing.T) {
	for name, bomb := range bombs() {
		d := mesh.NewAgent(store.Definition{Definition: task.Definition{Name: "a", InputSchema: []byte(bomb[0])}})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.CheckInput(gone, []byte(bomb[1])); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the client has gone: %v", name, err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := d.CheckInput(soon, []byte(bomb[1]))
		cancel()
		if !errors.Is(err, mesh.ErrInputTooComplex) {
			t.Errorf("%s: the time is over: %v", name, err)
		}
		// The next input is not the worse for it.
		if name == "a tree read twice" {
			if err := d.CheckInput(t.Context(), []byte(`{"a":{}}`)); err != nil {
				t.Errorf("%s: a small input: %v", name, err)
			}
		}
	}
}
