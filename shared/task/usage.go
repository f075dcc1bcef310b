package task

// Usage is what a task has used of models and tools. Cached tokens are a part of the
// input, those of reasoning one of the output.
type Usage struct {
	ModelCalls        int64 `json:"model_calls"`
	ToolCalls         int64 `json:"tool_calls"`
	InputTokens       int64 `json:"input_tokens"`
	CachedInputTokens int64 `json:"cached_input_tokens,omitempty"`
	OutputTokens      int64 `json:"output_tokens"`
	ReasoningTokens   int64 `json:"reasoning_tokens,omitempty"`
	// Cost is in millionths of Currency. Without a currency it is not known.
	Cost     int64  `json:"cost_millionths,omitempty"`
	Currency string `json:"currency,omitempty"`
	// Estimated says that a server did not count, and bytes were counted instead.
	Estimated bool `json:"estimated,omitempty"`
}

// Mixed is the currency of costs that cannot be added.
const Mixed = "mixed"

// Tokens is what counts against a limit of tokens.
func (u Usage) Tokens() int64 { return u.InputTokens + u.OutputTokens }

// Add is both. Costs in two currencies are mixed: the sum means nothing.
func (u Usage) Add(o Usage) Usage {
	sum := Usage{
		ModelCalls: u.ModelCalls + o.ModelCalls, ToolCalls: u.ToolCalls + o.ToolCalls,
		InputTokens: u.InputTokens + o.InputTokens, CachedInputTokens: u.CachedInputTokens + o.CachedInputTokens,
		OutputTokens: u.OutputTokens + o.OutputTokens, ReasoningTokens: u.ReasoningTokens + o.ReasoningTokens,
		Cost: u.Cost + o.Cost, Currency: u.Currency, Estimated: u.Estimated || o.Estimated,
	}
	switch {
	case u.Currency == "":
		sum.Currency = o.Currency
	case o.Currency != "" && o.Currency != u.Currency:
		sum.Currency, sum.Cost = Mixed, 0
	}
	return sum
}

// Within is what a task may use at most, its children included: what its parent has
// left. 0: no bound but its own.
type Within struct {
	Tokens int64 `json:"tokens,omitempty"`
	Cost   int64 `json:"cost_millionths,omitempty"`
}

// Tighter is the bound of both.
func (w Within) Tighter(o Within) Within {
	return Within{tighter(w.Tokens, o.Tokens), tighter(w.Cost, o.Cost)}
}

func tighter(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
