package store

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
)

const id = "tsk_01a20cd9e03b7276be6a181888e33e52"

func TestDecodeRefusesWhatIsNoTask(t *testing.T) {
	for _, bad := range []string{
		`{`, `{}`, `{"task_id":"x","tenant":"default","agent":"a","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"a.b","agent":"a","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"default","agent":"*","status":"pending"}`,
		`{"task_id":"` + id + `","tenant":"default","agent":"a","status":"done"}`,
	} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%s is read as a task", bad)
		}
	}
}

// Bytes that decode are a task that may go on a subject, and keep their meaning.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"task_id":"` + id + `","tenant":"default","agent":"echo","status":"pending","created_at":"2026-05-19T10:30:00Z"}`))
	f.Add([]byte(`{"task_id":"` + id + `","tenant":"default","agent":"echo","status":"completed","result":{"inline":{"a":1}},"transitions":[{"status":"completed","after":3}],"milestones":[{"n":1}],"progress_percent":5,"timeout":"5m0s"}`))
	f.Add([]byte(`{"task_id":"act_*","status":"pending"}`))
	for _, odd := range oddRecords {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tk, err := decode(b)
		var whole task.Task
		if plain := unmarshal(b, &whole); (plain == nil && whole.Validate() == nil) != (err == nil) || err == nil && !reflect.DeepEqual(*tk, whole) {
			t.Fatalf("%s\nis %+v, %v\nand for the codec %+v, %v", b, tk, err, whole, plain)
		}
		if err != nil {
			return
		}
		if !tk.ID.Valid() || !task.ValidTenant(tk.Tenant) || !task.ValidAgent(tk.Agent) || !tk.Status.Valid() {
			t.Fatalf("accepted %s", b)
		}
		first, err := encode(tk)
		if err != nil {
			t.Skip() // such as a time beyond the year 9999
		}
		if plain, err := task.Marshal(tk); err != nil || string(plain) != string(first) {
			t.Fatalf("%s\nis %s, %v for encoding/json", first, plain, err)
		}
		again, err := decode(first)
		if err != nil {
			t.Fatalf("%s does not decode again: %v", first, err)
		}
		if second, err := encode(again); err != nil || string(second) != string(first) {
			t.Fatalf("%s\nbecomes %s, %v", first, second, err)
		}
	})
}

// oddRecords are as no store of ours writes one.
var oddRecords = func() (all []string) {
	const head = `{"task_id":"` + id + `","tenant":"default","kind":"task","agent":"echo","status":"pending"`
	for _, member := range []string{
		``, `,"unknown":1`, `,"agent":"other"`, `,"Agent":"other"`, `,"task_id":"x"`, ` , "instruction" : "x" `, `, "instruction": "x"`,
		`,"instruction":null`, `,"instruction":5`, `,"instruction":"\ud800"`, `,"instruction":"\u00e9\n\/"`, "," + `"instruction":"` + "\xff" + `"`,
		`,"input":{}`, `,"input":null`, `,"input":{"inline":null}`, `,"input":{"inline":{"a":1,"a":2}}`, `,"input":{"inline":[1, 2]}`, `,"input":{"inline":"` + "\xff" + `"}`,
		`,"input":{"inline":01}`, `,"input":{"inline":-0.5e+7}`, `,"input":{"inline":1.}`, `,"input":{"inline":{"a"}}`, `,"input":{"inline":{"a":[{}],"b":"\u12g4"}}`, `,"input":{"inline":"\ud800"}`,
		`,"input":{"inline":` + strings.Repeat("[", 150) + strings.Repeat("]", 150) + `}`, `,"input":{"size":1,"object":"x"}`,
		`,"attempt":-1`, `,"attempt":01`, `,"attempt":1e2`, `,"attempt":1.5`, `,"attempt":1234567890123456789`, `,"attempt":null`, `,"replaces":18446744073709551615`,
		`,"attempt":0`, `,"waited":false`, `,"waited":tru`, `,"timeout":"5m"`, `,"timeout":"x"`, `,"labels":{"b":"1","a":"2"}`, `,"labels":{}`,
		`,"created_at":"2026-05-19T10:30:00+01:00"`, `,"created_at":"2026-05-19t10:30:00z"`, `,"created_at":"0001-01-01T00:00:00Z"`, `,"created_at":"2026-05-19T1:30:00Z"`, `,"created_at":""`,
		`,"transitions":[]`, `,"transitions":null`, `,"transitions":[{"status":"failed"},null]`, `,"transitions":[{"status":"failed"}{}]`, `,"transitions":]`, `,"lease":{"worker":"w","seq":1,"new":2}`,
		`,"progress_percent":7`, `,"progress_percent":null`, `,"callback":{"url":"http://x","sealed_url":"AQI="}`,
	} {
		all = append(all, head+member+"}")
	}
	return append(all, head, head+"}}", head+"} ", " "+head+"}", `null`, `[]`, `""`, ``)
}()

// Every member of a record is in its walk, with the name, the order and the rule of leaving
// it out that its type says: without that it would be lost.
func TestARecordIsWrittenAndReadPlainlyAsTheCodecDoesIt(t *testing.T) {
	var full task.Task
	fill(reflect.ValueOf(&full).Elem())
	plainly(t, "all of it", &full)
	plainly(t, "nothing", &task.Task{})
	for i := range reflect.TypeFor[task.Task]().NumField() {
		var one task.Task
		field := reflect.ValueOf(&one).Elem().Field(i)
		fill(field)
		plainly(t, reflect.TypeFor[task.Task]().Field(i).Name, &one)
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem()))) // of several
			plainly(t, reflect.TypeFor[task.Task]().Field(i).Name, &one)
		}
	}
}

func plainly(t *testing.T, name string, whole *task.Task) {
	t.Helper()
	want, err := marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	got := writePlain(whole, taskMembers)
	if string(got) != string(want) {
		t.Errorf("%s: written is\n%s\nand by the codec\n%s", name, got, want)
	}
	var read, back task.Task
	if err := unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if !readPlain(want, &read, taskMembers) || !reflect.DeepEqual(read, back) {
		t.Errorf("%s: read is\n%+v\nand by the codec\n%+v", name, read, back)
	}
}

// fill gives every part of a value something to tell.
func fill(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Date(2026, 5, 19, 10, 30, 0, 42e6, time.UTC)
		return
	case *json.RawMessage:
		*at = json.RawMessage(`{"a":[1,-2.5e-3,"é\n\u0001\\",true,null,{}]," ":[]}`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text \"é\" <&>\n\u2028\x7f\x01")
	case reflect.Int, reflect.Int64:
		v.SetInt(42)
	case reflect.Uint64:
		v.SetUint(1 << 50)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": "1", "a": "<2>"}))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	}
}

// finished is a record as most of them end.
func finished() *task.Task {
	at := time.Date(2026, 5, 19, 10, 30, 0, 42e6, time.UTC)
	text := json.RawMessage(`{"text":"` + strings.Repeat("x", 180) + `"}`)
	return &task.Task{
		ID: id, Tenant: "default", Kind: task.KindTask, Agent: "echo", Status: task.Completed, Input: task.Value{Inline: text}, Attempt: 1,
		CreatedAt: at, UpdatedAt: at, StartedAt: at, FinishedAt: at, Result: task.Value{Inline: text},
		Lease:       &task.Lease{Worker: "wrk_01a20cd9e03b7276be6a181888e33e52", Seq: 12345},
		Transitions: []task.Transition{{Status: task.Completed, Attempt: 1, At: at}},
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
}

func BenchmarkRecord(b *testing.B) {
	t := finished()
	data, err := encode(t)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encode(t); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode by the codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := marshal(t); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode by the codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var t task.Task
			if err := unmarshal(data, &t); err != nil {
				b.Fatal(err)
			}
		}
	})
}
