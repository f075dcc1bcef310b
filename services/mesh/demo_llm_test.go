package main

import (
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents"
)

// A newcomer sees tools, a question and the usage without a key.
func TestTheDemoModelCallsAnAgentAndAsksAPerson(t *testing.T) {
	m := meshtest.New(t)
	demo, err := demoModel{On: true}.agents("", agents.Options{Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	m.Work(append(agents.Samples(), demo...)...)
	v := m.End(m.Create(`{"agent":"assistant","instruction":"Tides rise and fall. The moon pulls the sea and makes the tides. My cat is asleep."}`))
	if v.Status != "completed" || !strings.Contains(string(v.Result), "In short: ") || len(v.Children) != 1 || v.Usage == nil || v.Usage.ModelCalls != 2 || v.Usage.Cost == 0 {
		t.Errorf("%s %s %+v %+v", v.Status, v.Result, v.Usage, v.Error)
	}
	id := m.Create(`{"agent":"assistant","instruction":"ask me"}`)
	natstest.Until(t, "the question is asked", func() bool { return m.Get(id).Status == "input_required" })
	m.Do("POST", "/tasks/"+id+"/input", `{"value":"tea"}`)
	if v := m.End(id); !strings.Contains(string(v.Result), "You said: tea") {
		t.Errorf("%s %s %+v", v.Status, v.Result, v.Error)
	}
	if _, err := (demoModel{On: true}).agents("agents.yaml", agents.Options{}); err == nil {
		t.Error("it is served beside a file")
	}
}
