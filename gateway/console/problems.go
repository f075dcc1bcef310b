package console

import (
	"net/http"
	"slices"
	"strings"

	"agentmesh/gateway/api"
)

// problemsScreen lists the codes, codeScreen says what one means.
var (
	problemsScreen = screen{name: "problems", path: "/problems", title: "Problems", load: loadProblems}
	codeScreen     = screen{name: "code", path: "/problems/{id}", nav: "problems", load: loadCode, named: func(body any) string { return body.(codePage).Page.Code }}
)

type problemsPage struct {
	Q   string
	Of  *api.Version // of the gateway; nil: it is not known
	All []api.ProblemPage
}

func loadProblems(v *visit) (any, error) {
	all, err := v.api.Problems(v.ctx())
	if err != nil {
		return nil, err
	}
	q := strings.ToLower(v.q("q"))
	all = slices.DeleteFunc(all, func(p api.ProblemPage) bool {
		return !strings.Contains(strings.ToLower(p.Code+" "+p.Title), q)
	})
	of, err := optional(v.api.Version(v.ctx()))
	return problemsPage{v.q("q"), of, all}, err
}

type codePage struct{ Page api.ProblemPage }

func loadCode(v *visit) (any, error) {
	all, err := v.api.Problems(v.ctx())
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.Code == v.id() {
			return codePage{p}, nil
		}
	}
	v.status = http.StatusNotFound
	return codePage{api.ProblemPage{Code: v.id(), Title: "This gateway does not know the code: it may be an agent's own. The message beside it says more."}}, nil
}
