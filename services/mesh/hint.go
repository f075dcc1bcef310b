package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentmesh/worker/agent"
)

const (
	hintPoll = `    ID=$(curl -s %[1]s/tasks -H 'Content-Type: application/json' -d '{"agent":"echo","input":{"hello":"mesh","echo_delay":"3s"}}' | grep -o 'tsk_[0-9a-f]*' | head -1)
    curl -s %[1]s/tasks/$ID
`
	hintWait = `    curl -s %s/tasks -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '%s'
`
	hintText = `{"agent":"summarize","input":{"text":"Tides rise and fall twice a day. The moon pulls the sea towards it. Tides are highest when moon and sun pull together. My cat is asleep.","sentences":2}}`
)

// hintModel is for the agent of --demo-llm.
const hintModel = `{"agent":"assistant","instruction":"Tides rise and fall twice a day. The moon pulls the sea towards it. My cat is asleep."}`

// hintKey is sent to a mesh that asks who calls.
const hintKey = ` -H "Authorization: Bearer $MESH_API_KEY"`

// hint is something to try on a mesh that serves these agents, and asks who calls
// or does not.
func hint(url string, samples, asks bool, served []agent.Agent) string {
	text := tries(url, samples, served)
	if asks {
		text = strings.ReplaceAll(text, "curl -s", "curl -s"+hintKey)
	}
	return text
}

func tries(url string, samples bool, served []agent.Agent) string {
	if samples {
		text := fmt.Sprintf(hintPoll, url) + fmt.Sprintf(hintWait, url, hintText)
		if slices.ContainsFunc(served, func(a agent.Agent) bool { return a.Name == "assistant" }) {
			text += fmt.Sprintf(hintWait, url, hintModel)
		}
		return text
	}
	a := served[0]
	if i := slices.IndexFunc(served, func(a agent.Agent) bool { return a.Default }); i >= 0 {
		a = served[i]
	}
	body := map[string]any{"agent": a.Name}
	var schema map[string]any
	if json.Unmarshal(a.InputSchema, &schema) == nil && len(schema) > 0 {
		body["input"] = example(schema)
	} else {
		body["instruction"] = "Say hello"
	}
	text, _ := json.Marshal(body) // of maps and plain values
	return fmt.Sprintf(hintWait, url, strings.ReplaceAll(string(text), "'", `'\''`))
}

// example is a value that a schema takes, as far as its usual words say.
func example(schema map[string]any) any {
	for _, word := range []string{"const", "default"} {
		if v, ok := schema[word]; ok {
			return v
		}
	}
	for _, word := range []string{"examples", "enum"} {
		if list, ok := schema[word].([]any); ok && len(list) > 0 {
			return list[0]
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	switch kind := schema["type"]; {
	case kind == "string":
		return "hello"
	case kind == "integer", kind == "number":
		if least, ok := schema["minimum"].(float64); ok {
			return least
		}
		return 1
	case kind == "boolean":
		return true
	case kind == "array":
		return []any{}
	case kind == "null":
		return nil
	default:
		value := map[string]any{}
		required, _ := schema["required"].([]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if of, ok := properties[name].(map[string]any); ok && slices.Contains(required, any(name)) {
				value[name] = example(of)
			}
		}
		return value
	}
}
