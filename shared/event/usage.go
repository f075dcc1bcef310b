package event

import "agentmesh/shared/task"

// usage is what a task has used of models and tools, as receivers read it.
type usage struct {
	ModelCalls        int64   `json:"model_calls"`
	ToolCalls         int64   `json:"tool_calls"`
	InputTokens       int64   `json:"input_tokens"`
	CachedInputTokens int64   `json:"cached_input_tokens,omitempty"`
	OutputTokens      int64   `json:"output_tokens"`
	ReasoningTokens   int64   `json:"reasoning_tokens,omitempty"`
	Cost              float64 `json:"cost,omitempty"`
	Currency          string  `json:"currency,omitempty"`
	Estimated         bool    `json:"estimated,omitempty"`
}

func usageOf(u *task.Usage) *usage {
	if u == nil {
		return nil
	}
	return &usage{
		u.ModelCalls, u.ToolCalls, u.InputTokens, u.CachedInputTokens, u.OutputTokens, u.ReasoningTokens,
		float64(u.Cost) / 1e6, u.Currency, u.Estimated,
	}
}
