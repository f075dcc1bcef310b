package a2aform

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"agentmesh/shared/task"
)

// History is what was said: the message that made the task, the questions that it asked
// with the answers to them, and the questions that are open.
func History(t *task.Task) []*a2a.Message {
	type said struct {
		at time.Time
		m  *a2a.Message
	}
	var between []said
	for _, e := range t.Exchanges {
		name := e.Name + "." + strconv.Itoa(e.N)
		between = append(between, said{e.AskedAt, Said(t, "question-"+name, a2a.NewTextPart(firstOf(e.Prompt, e.Name)))}, said{e.At, answerOf(t, e, name)})
	}
	now := asked(t)
	for _, tr := range t.Transitions {
		if q := tr.Question; q != nil && (now == nil || t.Run != tr.Run) && !answered(t, tr) {
			between = append(between, said{tr.At, Said(t, "question-"+strconv.Itoa(tr.Run), a2a.NewTextPart(firstOf(q.Prompt, q.Name)))})
		}
	}
	slices.SortStableFunc(between, func(a, b said) int { return a.at.Compare(b.at) })
	all := []*a2a.Message{firstMessage(t)}
	for _, s := range between {
		all = append(all, s.m)
	}
	if now != nil {
		all = append(all, now)
	}
	return all
}

// firstMessage is the one that made the task.
func firstMessage(t *task.Task) *a2a.Message {
	first := a2a.NewMessageForTask(a2a.MessageRoleUser, info(t))
	first.ID = string(t.ID) + "-message"
	var kept struct{ A2A Origin }
	if json.Unmarshal(t.Metadata, &kept) == nil && kept.A2A.MessageID != "" {
		first.ID, first.Extensions = kept.A2A.MessageID, kept.A2A.Extensions
	}
	if t.Instruction != "" {
		first.Parts = append(first.Parts, a2a.NewTextPart(t.Instruction))
	}
	switch {
	case len(t.Input.Inline) > 0 && string(t.Input.Inline) != "null":
		first.Parts = append(first.Parts, a2a.NewDataPart(t.Input.Inline))
	case len(first.Parts) == 0:
		first.Parts = append(first.Parts, a2a.NewTextPart("The input is large; it is read with GET /tasks/"+string(t.ID)+"/input."))
	}
	return first
}

// answerOf is the message of a person that answered a question.
func answerOf(t *task.Task, e task.Exchange, name string) *a2a.Message {
	part := a2a.NewDataPart(e.Value)
	var text string
	switch {
	case len(e.Value) == 0:
		part = a2a.NewTextPart("The answer has " + strconv.Itoa(e.Bytes) + " bytes and is not kept here; it is read with GET /tasks/" + string(t.ID) + "/steps.")
	case e.Value[0] == '"' && json.Unmarshal(e.Value, &text) == nil:
		part = a2a.NewTextPart(text)
	}
	m := a2a.NewMessageForTask(a2a.MessageRoleUser, info(t), part)
	m.ID = firstOf(e.Message, string(t.ID)+"-answer-"+name)
	return m
}

// answered reports whether the exchanges have the question of a change of status.
func answered(t *task.Task, tr task.Transition) bool {
	return slices.ContainsFunc(t.Exchanges, func(e task.Exchange) bool {
		return e.Name == tr.Question.Name && !tr.At.Before(e.AskedAt) && !tr.At.After(e.At)
	})
}
