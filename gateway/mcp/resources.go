package mcp

import (
	"context"
	"errors"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// maxResource is the largest result in bytes that is read as a resource.
const maxResource = 32 << 20

const resultPrefix, resultSuffix = "mesh://tasks/", "/result"

func resultURI(id task.ID) string { return resultPrefix + string(id) + resultSuffix }

func (e *endpoint) addResources() {
	e.server.AddResourceTemplate(&sdk.ResourceTemplate{
		Name: "result", Title: "Result of a task", Description: "What the agent of a task returned.", MIMEType: "application/json",
		URITemplate: resultPrefix + "{task_id}" + resultSuffix,
	}, e.readResult)
}

// readResult is resources/read of a result.
func (e *endpoint) readResult(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	a, uri := askedOf(ctx), req.Params.URI
	id := task.ID(strings.TrimSuffix(strings.TrimPrefix(uri, resultPrefix), resultSuffix))
	t, err := e.find(ctx, a, id)
	if err != nil {
		if errors.Is(mesh.RefusalOf(err), mesh.ErrTaskNotFound) {
			return nil, sdk.ResourceNotFoundError(uri)
		}
		return nil, failed(err)
	}
	if t.Status != task.Completed {
		return nil, invalid("The task is " + string(t.Status) + " and has no result.")
	}
	if t.Result.Size > maxResource {
		return nil, invalid("The result is over 32 MiB: read it at GET /tasks/{id}/result.")
	}
	raw, err := e.read(ctx, t.Result)
	if err != nil {
		return nil, failed(err)
	}
	return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: uri, MIMEType: "application/json", Text: string(raw)}}}, nil
}
