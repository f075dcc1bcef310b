package api

// Index is the answer of GET / to a program.
type Index struct {
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	Docs     string       `json:"docs" doc:"The API as a page."`
	OpenAPI  string       `json:"openapi" doc:"The API as a document."`
	Problems string       `json:"problems" doc:"What the codes of refusals mean."`
	Console  string       `json:"console,omitempty" doc:"The web console, where there is one."`
	Routes   []IndexRoute `json:"routes"`
}

// IndexRoute is one operation.
type IndexRoute struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	Scope   string `json:"scope" doc:"Of those who may; public: everybody, known: any caller that is known."`
	Summary string `json:"summary"`
}
