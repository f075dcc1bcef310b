package mcp

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/egress"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// Codes of errors of tools.
const (
	codeTool     = task.CodeToolError
	codeRejected = task.CodeToolRejected
	codeUnknown  = task.CodeToolOutcomeUnknown
)

// lostError is the outcome that nobody knows.
type lostError struct{ why string }

func (e *lostError) Error() string { return e.why }

// fault is what an error of the SDK means.
func (c *Client) fault(ctx context.Context, err error, p *probe) error {
	var ours *agent.Error
	status := int(p.status.Load())
	switch {
	case errors.As(err, &ours), errors.Is(err, errAsked):
		return err
	case ctx.Err() != nil && context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return context.Cause(ctx)
	case p.tooLarge.Load():
		return &agent.Error{Code: task.CodeResultTooLarge, Permanent: true, Message: fmt.Sprintf("the answer of the MCP server is over %d bytes: have it return a reference", maxMessage)}
	case wordOf(err) != nil:
		return c.refused(wordOf(err))
	case errors.Is(err, egress.ErrBlocked):
		return &agent.Error{Code: task.CodeAgentUnreachable, Permanent: true, Message: "the address of the MCP server is not allowed", Detail: c.place, Err: err}
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout, status < 300 && p.sent.Load() && !errors.Is(err, sdk.ErrSessionMissing):
		return &lostError{why: "the answer of the MCP server was lost"}
	case status >= 300:
		return c.answered(status, time.Duration(p.after.Load()))
	}
	return &agent.Error{Code: task.CodeAgentUnreachable, Message: "the MCP server did not answer", Detail: c.place + ": " + plain(err).Error(), Err: err}
}

// ofTheSDK are what the SDK says of connections in the form of a server's words.
var ofTheSDK = map[int64]string{-32003: "client is closing", -32004: "server is closing", -32005: "rejected by transport"}

// wordOf is the error that the server has answered with, nil when it has not.
func wordOf(err error) *jsonrpc.Error {
	var word *jsonrpc.Error
	if !errors.As(err, &word) || ofTheSDK[word.Code] == word.Message {
		return nil
	}
	return word
}

// refused is a word of the server's.
func (c *Client) refused(word *jsonrpc.Error) *agent.Error {
	e := &agent.Error{Code: codeRejected, Permanent: true, Message: "the MCP server refused the call: " + clip(word.Message, maxText), Detail: fmt.Sprintf("%s: %d", c.place, word.Code)}
	switch word.Code {
	case jsonrpc.CodeInvalidParams:
		e.Code = task.CodeBadInput
	case jsonrpc.CodeInternalError:
		e.Permanent, e.Message = false, "the MCP server has a fault of its own"
		e.Detail += ": " + clip(word.Message, maxText)
	}
	return e
}

// answered is an HTTP status that is no answer to the call.
func (c *Client) answered(status int, after time.Duration) *agent.Error {
	again := status >= 500 || slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, status)
	e := &agent.Error{
		Code: task.CodeAgentHTTPError, Permanent: !again, RetryAfter: after, Detail: c.place,
		Message: fmt.Sprintf("the MCP server answered %d %s", status, http.StatusText(status)),
	}
	if status < 400 {
		e.Message += "; redirects are not followed: write the final address into agents.yaml"
	}
	return e
}

func badAnswer(format string, args ...any) *agent.Error {
	return &agent.Error{Code: task.CodeAgentBadOutput, Permanent: true, Message: fmt.Sprintf(format, args...)}
}

// busy is an answer that asks for nothing but another try.
func busy() *agent.Error {
	return &agent.Error{Code: codeTool, Message: "the MCP server is busy", RetryAfter: time.Second}
}

// notSent says whether a request has not left for the server.
func notSent(err error) bool {
	var op *net.OpError
	var name *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &name) || errors.Is(err, egress.ErrBlocked)
}

// plain is an error without the URL, which may hold a key.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func clip(s string, n int) string { return task.Clip(s, n) }

func compare(a, b string) int { return cmp.Compare(a, b) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
