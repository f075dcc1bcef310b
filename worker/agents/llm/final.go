package llm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// finalAnswer is the tool by which a model answers whose server takes no schema.
const finalAnswer = "final_answer"

// maxRepairs is how often the model may mend an answer that breaks its schema.
const maxRepairs = 2

// final takes an answer without calls. done: it is the task's.
func (l *loop) final(_ context.Context, text string) (v any, done bool, err error) {
	if l.schema == nil {
		return l.reply(text, nil), true, nil
	}
	v, err = l.valid(text)
	if err == nil {
		return l.reply(text, v), true, nil
	}
	if err := l.repair(err); err != nil {
		return nil, true, err
	}
	ask := "That does not fit the schema of the answer: " + err.Error() + "\nAnswer again, with JSON only."
	l.messages = append(l.messages, chat.Message{Role: chat.User, Content: ask})
	return nil, false, nil
}

// repair counts an answer that breaks its schema.
func (l *loop) repair(why error) error {
	if l.repairs == maxRepairs {
		return &agent.Error{Code: task.CodeAgentBadOutput, Permanent: true, Message: fmt.Sprintf("the model's answer breaks output_schema, also after %d repairs: %v", maxRepairs, why)}
	}
	l.repairs++
	return nil
}

// valid reads an answer by the schema.
func (a *compiled) valid(text string) (any, error) {
	v, err := decoded(text)
	if err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	return v, explained(a.schema.Validate(v))
}

// explained is what a validator says, in one line that a model reads.
func explained(err error) error {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	text := invalid.Error()
	if _, faults, ok := strings.Cut(text, "\n"); ok { // without the schema's address
		text = faults
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}
