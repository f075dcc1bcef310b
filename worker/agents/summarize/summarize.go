// Package summarize is the sample agent that picks the key sentences of a text,
// with their positions. It invents nothing: every sentence of a summary is a
// piece of the input.
//
// The method is LexRank (Erkan and Radev, "LexRank: Graph-based Lexical
// Centrality as Salience in Text Summarization", JAIR 22, 2004) in its
// continuous form: sentences are nodes, edges weigh their idf-modified cosine
// similarity, and a sentence's score is its share of a random walk (damping
// 0.85, power iteration until no score moves by more than 1e-6, at most 100
// rounds). Similarities under 0.05 are no edge. Inverse document frequencies
// come from the text itself, each sentence a document, so that the method needs
// no language data; a short list of English function words is left out.
//
// In a session the reply to a text are its sentences.
//
// Time and memory grow with the pairs of sentences that share a word. A text of
// more than MaxSentences is ranked by its first MaxSentences.
package summarize

import (
	"context"
	"fmt"
	"strings"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Limits of an input.
const (
	MaxText      = 10 << 20 // bytes
	MaxSentences = 2000
	maxPicked    = 20
)

// Agent is the agent "summarize".
func Agent() agent.Agent {
	return agent.Agent{
		Definition: agent.Definition{
			Name: "summarize", Version: "1.0.0",
			Greeting:    "Hello! Send me a text and I pick its three key sentences.",
			Description: "Picks the key sentences of a text (extractive, LexRank) and returns them in order with their byte positions.",
			InputSchema: []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["text"],"properties":{` +
				`"text":{"type":"string","minLength":1,"description":"The text to summarize, up to 10 MB."},` +
				`"sentences":{"type":"integer","minimum":1,"maximum":20,"default":3,"description":"How many sentences to pick."}}}`),
		},
		Handler: run,
	}
}

// Input is what the agent takes.
type Input struct {
	Text      string `json:"text"`
	Sentences int    `json:"sentences"` // 1..20, default 3
}

// Summary is what it returns.
type Summary struct {
	Summary   string     `json:"summary"`   // the sentences, joined by spaces
	Sentences []Sentence `json:"sentences"` // in the order of the text
	Method    string     `json:"method"`
}

// Sentence is a piece of the input: text[Start:End], in bytes.
type Sentence struct {
	Text  string  `json:"text"`
	Start int     `json:"start"`
	End   int     `json:"end"`
	Score float64 `json:"score"` // share of the walk; all sentences of the text sum to 1
}

func run(ctx context.Context, job *agent.Job) (any, error) {
	in := Input{Text: job.Instruction}
	if job.Input != nil {
		if err := job.Bind(&in); err != nil {
			return nil, err
		}
	}
	if in.Sentences == 0 {
		in.Sentences = 3
	}
	switch {
	case strings.TrimSpace(in.Text) == "":
		return nil, bad("there is no text; send {\"text\": \"...\"}")
	case len(in.Text) > MaxText:
		return nil, bad(fmt.Sprintf("the text has %d bytes, allowed are %d", len(in.Text), MaxText))
	case in.Sentences < 1 || in.Sentences > maxPicked:
		return nil, bad(fmt.Sprintf("sentences is %d, allowed is 1 to %d", in.Sentences, maxPicked))
	}
	s, err := Summarize(ctx, in.Text, in.Sentences, job.Progress)
	switch {
	case err != nil:
		return nil, err
	case job.Turn == nil:
		return s, nil
	case s.Summary == "":
		return agent.Reply{Message: "There is no sentence in that. Send me a text and I pick its key sentences."}, nil
	}
	job.Output(s.Summary)
	return agent.Reply{Message: s.Summary}, nil
}

func bad(message string) error {
	return &agent.Error{Code: task.CodeBadInput, Message: message, Permanent: true}
}

// Summarize picks n sentences of text. progress is told how far it is, in
// percent. The only error is that ctx ended. The same text gives the same
// summary; of equal sentences the earlier wins.
func Summarize(ctx context.Context, text string, n int, progress func(int, string)) (Summary, error) {
	progress(5, "splitting into sentences")
	sentences := Split(text)
	if len(sentences) > MaxSentences {
		sentences = sentences[:MaxSentences]
	}
	progress(15, fmt.Sprintf("comparing %d sentences", len(sentences)))
	graph, err := similarities(ctx, sentences)
	if err != nil {
		return Summary{}, err
	}
	progress(70, "ranking")
	scores, err := rank(ctx, graph)
	if err != nil {
		return Summary{}, err
	}
	for i := range sentences {
		sentences[i].Score = scores[i]
	}
	picked := pick(sentences, n)
	parts := make([]string, len(picked))
	for i, s := range picked {
		parts[i] = strings.Join(strings.Fields(s.Text), " ")
	}
	progress(100, fmt.Sprintf("picked %d of %d sentences", len(picked), len(sentences)))
	return Summary{Summary: strings.Join(parts, " "), Sentences: picked, Method: "lexrank"}, nil
}
