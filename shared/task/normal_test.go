package task_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"agentmesh/shared/task"
)

func TestNormalIsTheSameValueInOneSpelling(t *testing.T) {
	for in, want := range map[string]string{
		` { "a" : [ 1 , -2.50e+3 , true , false , null , "" , { } , [ ] ] } `: `{"a":[1,-2.50e+3,true,false,null,"",{},[]]}`,
		"\"caf\xe9\"":              "\"caf\uFFFD\"",
		"{\"k\xff\":1}":            "{\"k\uFFFD\":1}",
		`"\ud800"`:                 "\"\uFFFD\"",
		`"\udc00\ud800x"`:          "\"\uFFFD\uFFFDx\"",
		`"\ud800\ud800\udc00"`:     "\"\uFFFD\U00010000\"",
		"\"\xed\xa0\x80\"":         "\"\uFFFD\uFFFD\uFFFD\"", // a surrogate in UTF-8
		`"\u00e9\ud83d\ude00"`:     `"é😀"`,
		`"\u0000\u001F\n\u000a\/"`: `"\u0000\u001f\n\n/"`,
		`"\"\\\u0022\u005c<>&"`:    `"\"\\\"\\<>&"`,
		`{"a":1,"a":2}`:            `{"a":2}`,
		`{"a":1,"b":2,"a":3,"b":4,"a":{"x":1,"x":2}}`: `{"b":4,"a":{"x":2}}`,
		`{"a":1,"\u0061":2}`:                          `{"a":2}`,
		"{\"\xff\":1,\"\xfe\":2}":                     "{\"\uFFFD\":2}", // one name once they are UTF-8
		`{"":1,"":2}`:                                 `{"":2}`,
		`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"1":1,"10":1}`: `{"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"1":1,"10":1}`,
		`1e400`: `1e400`, `0`: `0`, `-0.0`: `-0.0`,
	} {
		got, err := task.Normal([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
}

func TestNormalRefusesWhatCannotBeKept(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for in, want := range map[string]string{
		``: "unexpected end", `{`: "unexpected end", `1 2`: "after top-level value", `NaN`: "invalid character",
		deep(task.MaxNesting + 2): "nested more than 1000 deep", strings.Repeat(`{"a":`, 9999) + "1" + strings.Repeat("}", 9999): "nested more than 1000 deep",
		`[1e401]`: "exponent", `1E-401`: "exponent", `1e99999999999999999999`: "exponent", strings.Repeat("7", 401): "has 401 digits", "0." + strings.Repeat("1", 400): "has 401 digits",
	} {
		if got, err := task.Normal([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.40s, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{deep(task.MaxNesting + 1), strings.Repeat("7", 400)} {
		if got, err := task.Normal([]byte(in)); err != nil || string(got) != in {
			t.Errorf("%.40s: %v", in, err)
		}
	}
}

// JSON as encoding/json reads it becomes JSON that the strictest reader takes,
// with the same value; done again it changes nothing.
func FuzzNormal(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null,"b":"\ud800"}],"a":2}`, "\"\xff\"", `"\u0022\ud83d\ude00"`, `[true,1e5,-0]`, `{"type":"x","type":"y","t":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := task.Normal(raw)
		if err != nil {
			return
		}
		var before, after any
		if json.Unmarshal(raw, &before) == nil {
			if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
				t.Fatalf("%q became %q: %v", raw, got, err)
			}
		}
		if !utf8.Valid(got) || !jsontext.Value(got).IsValid() {
			t.Fatalf("%q became %q, which is not acceptable", raw, got)
		}
		if again, err := task.Normal(got); err != nil || string(again) != string(got) {
			t.Fatalf("%q became %q and then %q: %v", raw, got, again, err)
		}
	})
}
