package gateway

import (
	"context"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// problems shows the catalogue of codes.
type problems struct{}

func (h problems) routes() []route {
	return []route{
		operation("GET", "/problems", auth.Public, "listProblems", "List the problem codes", h.listProblems),
		operation("GET", "/problems/{code}", auth.Public, "getProblem", "Read what a problem code means", h.getProblem, problem.ErrNotFound),
	}
}

// listProblems is GET /problems: the catalogue of codes.
func (h problems) listProblems(context.Context, plain) (api.ProblemList, error) {
	return api.ProblemList{Problems: problem.Pages()}, nil
}

// ofCode is the code of a path.
type ofCode struct {
	Code string `path:"code"`
}

// getProblem is GET /problems/{code}: the page of a code.
func (h problems) getProblem(_ context.Context, in ofCode) (api.ProblemPage, error) {
	for _, page := range problem.Pages() {
		if page.Code == in.Code {
			return page, nil
		}
	}
	return api.ProblemPage{}, mesh.Refuse(problem.ErrNotFound, "There is no problem code %q; GET /problems lists them.", mesh.Clip(in.Code, 64))
}
