package agents_test

import (
	osexec "os/exec"
	"strings"
	"testing"

	"agentmesh/worker/agents"
)

// A program says which agents it has, in each language, and that is an agents.yaml.
func TestAProgramIsAnAgentsFile(t *testing.T) {
	for program, needs := range map[string]string{"testdata/described.py": "python3", "testdata/described.mjs": "node", "testdata/described.sh": "sh"} {
		t.Run(needs, func(t *testing.T) {
			if _, err := osexec.LookPath(needs); err != nil {
				t.Skip("there is no " + needs)
			}
			t.Parallel()
			specs, text, err := agents.Describe(t.Context(), program)
			if err != nil || len(specs) != 2 {
				t.Fatalf("%d agents, %v\n%s", len(specs), err, text)
			}
			d := specs[0]
			if d.Name != "research" || d.Description != "Costs ${PRICE}: yes" || d.Version != "1.0" || string(d.InputSchema) != `{"properties":{"topic":{"pattern":"^${a}","type":"string"}},"required":["topic"],"type":"object"}` || d.Exec == nil {
				t.Errorf("%+v of\n%s", d.Definition, text)
			}
			if specs[1].Name != "plain" || specs[1].InputSchema != nil {
				t.Errorf("%+v", specs[1].Definition)
			}
		})
	}
}

func TestAProgramThatTellsNothingIsNone(t *testing.T) {
	for program, want := range map[string]string{
		"testdata/silent.sh": "is it a program of a worker kit", "testdata/broken.sh": "exit status 3: no module named x", "testdata/none.sh": "no such file", "testdata/misnamed.sh": "name",
	} {
		if _, _, err := agents.Describe(t.Context(), program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", program, err, want)
		}
	}
}
