package telemetry

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// content says whether spans have what was said.
var content atomic.Bool

// Content reports whether what is said to models and tools goes on spans.
func Content() bool { return content.Load() && recording.Load() }

// providers are the hosts whose providers have a name in the conventions. Any other is
// named by the protocol that it speaks.
var providers = []struct{ host, name string }{
	{"openai.azure.com", "azure.ai.openai"}, {"services.ai.azure.com", "azure.ai.inference"}, {"anthropic.com", "anthropic"},
	{"generativelanguage.googleapis.com", "gcp.gemini"}, {"aiplatform.googleapis.com", "gcp.vertex_ai"}, {"amazonaws.com", "aws.bedrock"},
	{"cohere.com", "cohere"}, {"cohere.ai", "cohere"}, {"deepseek.com", "deepseek"}, {"groq.com", "groq"}, {"mistral.ai", "mistral_ai"},
	{"perplexity.ai", "perplexity"}, {"x.ai", "x_ai"}, {"cloud.ibm.com", "ibm.watsonx.ai"},
}

const protocol = "openai"

// provider is the one that a host is of.
func provider(host string) string {
	for _, p := range providers {
		if host == p.host || strings.HasSuffix(host, "."+p.host) {
			return p.name
		}
	}
	return protocol
}

// ModelCall is a call of a model while it is made.
type ModelCall struct {
	span            trace.Span
	began           time.Time
	provider, model string
}

// ModelEnd is what a call of a model came to. Tokens are those of all its tries.
type ModelEnd struct {
	ID, Model, Finish                string // as the server says
	Input, Cached, Output, Reasoning int64
	First                            time.Duration // until its answer began; 0: it did not
	Error                            string        // the code; empty: there is an answer
}

// StartModel begins the span of a call of a model at an address, host or host:port.
func StartModel(ctx context.Context, model, address string, attrs ...attribute.KeyValue) (context.Context, *ModelCall) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	c := &ModelCall{began: time.Now(), provider: provider(host), model: model}
	if above, yes := unseen(ctx); yes {
		c.span = above
		return ctx, c
	}
	attrs = append(slices.Clone(attrs), keyGenAIOperation.String(opChat), keyGenAIProvider.String(c.provider), keyGenAIRequestModel.String(model), keyServerAddress.String(host))
	if n, err := strconv.Atoi(port); err == nil {
		attrs = append(attrs, keyServerPort.Int(n))
	}
	ctx, c.span = start(ctx, spanChat+model, trace.SpanKindClient, attrs)
	return ctx, c
}

// End ends the call, and counts it.
func (c *ModelCall) End(e ModelEnd, attrs ...attribute.KeyValue) {
	model := []string{opChat, c.provider, c.model}
	with := func(more string) []string { return append(model[:3:3], more) }
	ModelTime.Record(time.Since(c.began), with(e.Error)...)
	if e.First > 0 {
		ModelFirst.Record(e.First, model...)
	}
	for to, n := range map[*Counter]int64{InputTokens: e.Input, CachedTokens: e.Cached, OutputTokens: e.Output, ThoughtTokens: e.Reasoning} {
		to.Add(n, with(modalityText)...)
	}
	used := e.Input+e.Output > 0
	if used {
		ModelTokens.Number(e.Input, with("input")...)
		ModelTokens.Number(e.Output, with("output")...)
	}
	if c.span.IsRecording() {
		if used {
			attrs = append(attrs, keyGenAIInput.Int64(e.Input), keyGenAIOutput.Int64(e.Output), keyGenAICached.Int64(e.Cached), keyGenAIReasoning.Int64(e.Reasoning))
		}
		for key, v := range map[attribute.Key]string{keyGenAIResponseModel: e.Model, keyGenAIResponseID: e.ID} {
			if v != "" {
				attrs = append(attrs, key.String(v))
			}
		}
		if e.Finish != "" {
			attrs = append(attrs, keyGenAIFinish.StringSlice([]string{e.Finish}))
		}
		c.span.SetAttributes(attrs...)
	}
	endOf(c.span, e.Error)
}

// ToolCall is a call of a tool while it is made.
type ToolCall struct {
	span  trace.Span
	began time.Time
	tool  string
}

// StartTool begins the span of a tool that a model has called by an id.
func StartTool(ctx context.Context, tool, id string, attrs ...attribute.KeyValue) (context.Context, *ToolCall) {
	t := &ToolCall{began: time.Now(), tool: tool}
	if above, yes := unseen(ctx); yes {
		t.span = above
		return ctx, t
	}
	attrs = append(slices.Clone(attrs), keyGenAIOperation.String(opTool), keyGenAITool.String(tool), keyGenAIToolType.String("function"), keyGenAIToolCall.String(id))
	ctx, t.span = start(ctx, spanTool+tool, trace.SpanKindInternal, attrs)
	return ctx, t
}

// End ends the call, and counts it. failed is the code of an error, empty without one. A
// call that was not made in this run of its task, or that its task waits for, is not
// ended: it is neither counted nor in the trace.
func (t *ToolCall) End(failed string, attrs ...attribute.KeyValue) {
	ToolTime.Record(time.Since(t.began), opTool, t.tool, failed)
	if t.span.IsRecording() {
		t.span.SetAttributes(attrs...)
	}
	endOf(t.span, failed)
}

// endOf ends a span, as failed by a code. The text of an error may have what was said.
func endOf(span trace.Span, code string) {
	if code != "" && span.IsRecording() {
		span.SetAttributes(keyErrorType.String(code))
		span.SetStatus(codes.Error, code)
	}
	span.End()
}

// EndAgent ends the span of a run of an agent that began at a time, as failed by a code
// where err is not nil.
func EndAgent(span trace.Span, agent string, began time.Time, err error, code string) {
	AgentTime.Record(time.Since(began), opAgent, agent, code)
	if code != "" && span.IsRecording() {
		span.SetAttributes(keyErrorType.String(code))
	}
	End(span, err)
}

// CountModel has the series of a model begin at 0.
func CountModel(model, address string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	for _, c := range []*Counter{InputTokens, CachedTokens, OutputTokens, ThoughtTokens} {
		c.Add(0, opChat, provider(host), model, modalityText)
	}
}

// Messages are the attributes of what a model was told, and Answer of what it has said,
// both in the JSON of the conventions.
func Messages(told string) attribute.KeyValue { return keyGenAIMessages.String(told) }
func Answer(said string) attribute.KeyValue   { return keyGenAIAnswer.String(said) }

// Arguments are the attribute of what a tool was called with, and Result of what it has
// answered.
func Arguments(json string) attribute.KeyValue { return keyGenAIArguments.String(json) }
func Result(text string) attribute.KeyValue    { return keyGenAIToolResult.String(text) }

// RequestModel is the attribute of the model that an agent asks.
func RequestModel(model string) attribute.KeyValue { return keyGenAIRequestModel.String(model) }
