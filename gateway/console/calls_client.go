package console

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// created is the creation of a task, for which the clients have a method.
type created struct {
	Noun      string // tasks or actions
	Wait, Key string // as in the form; empty: left out
}

// clients are the call by the clients of the mesh, and how its result is had.
func (c call) clients(base string, asks bool) []snippet {
	return []snippet{{"Go", c.goClient(base, asks)}, {"Python", c.pythonClient(base, asks)}, {"TypeScript", c.typeScriptClient(base, asks)}}
}

func (c call) goClient(base string, asks bool) string {
	noun, options := strings.ToUpper(c.Create.Noun[:1])+c.Create.Noun[1:], ""
	if c.Create.Wait != "" {
		options = "Wait: " + c.Create.Wait + " * time.Second"
	}
	if c.Create.Key != "" {
		options = strings.TrimPrefix(options+", IdempotencyKey: "+strconv.Quote(c.Create.Key), ", ")
	}
	key := ""
	if asks {
		key = `, client.WithKey(os.Getenv("MESH_API_KEY"))`
	}
	return "mesh, err := client.New(" + strconv.Quote(base) + key + ")\n" +
		"var r client.Request\nerr = json.Unmarshal([]byte(" + strconv.Quote(string(c.Body)) + "), &r)\n" +
		"task, err := mesh." + noun + ".Create(ctx, r, client.CreateOptions{" + options + "})\n" +
		"task, err = mesh.Tasks.Wait(ctx, task.TaskID)\nfmt.Println(string(task.Result))"
}

func (c call) pythonClient(base string, asks bool) string {
	b := &strings.Builder{}
	b.WriteString("from agentmesh import Mesh\n\nmesh = Mesh(" + quotedJSON(base) + ")" + env(asks, "  # ") + "\ntask = mesh." + c.Create.Noun + ".create(")
	b.WriteString(pythonLiteral(c.Body))
	if c.Create.Wait != "" {
		b.WriteString(", wait=" + c.Create.Wait)
	}
	if c.Create.Key != "" {
		b.WriteString(", idempotency_key=" + quotedJSON(c.Create.Key))
	}
	b.WriteString(")\nprint(task.result())")
	return b.String()
}

func (c call) typeScriptClient(base string, asks bool) string {
	options := ""
	if c.Create.Wait != "" {
		options = "wait: " + c.Create.Wait
	}
	if c.Create.Key != "" {
		options = strings.TrimPrefix(options+", idempotencyKey: "+quotedJSON(c.Create.Key), ", ")
	}
	if options != "" {
		options = ", { " + options + " }"
	}
	return "import { Mesh } from \"@agentmesh/client\";\n\nconst mesh = new Mesh({ url: " + quotedJSON(base) + " });" + env(asks, " // ") +
		"\nconst task = await mesh." + c.Create.Noun + ".create(" + string(c.Body) + options + ");\nconsole.log(await task.result());"
}

// env says where the clients take their key from.
func env(asks bool, comment string) string {
	if !asks {
		return ""
	}
	return comment + "the key is that of MESH_API_KEY"
}

// pythonLiteral is JSON as Python writes it: its order and its numbers stay.
func pythonLiteral(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b strings.Builder
	pythonValue(&b, d)
	return b.String()
}

func pythonValue(b *strings.Builder, d *json.Decoder) {
	token, err := d.Token()
	if err != nil {
		return // it was checked
	}
	switch v := token.(type) {
	case json.Delim:
		b.WriteString(v.String())
		for n := 0; d.More(); n++ {
			if n > 0 {
				b.WriteString(", ")
			}
			if pythonValue(b, d); v == '{' {
				b.WriteString(": ")
				pythonValue(b, d)
			}
		}
		end, _ := d.Token()
		b.WriteString(end.(json.Delim).String())
	case string:
		b.WriteString(quotedJSON(v))
	case json.Number:
		b.WriteString(v.String())
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case nil:
		b.WriteString("None")
	}
}
