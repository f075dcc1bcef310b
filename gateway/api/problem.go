package api

// Problem is a refusal on the wire (RFC 9457). Clients switch on Code.
type Problem struct {
	Type      string    `json:"type" doc:"Relative URI of the page on this code."`
	Title     string    `json:"title" doc:"The same for every problem with this code."`
	Status    int       `json:"status"`
	Detail    string    `json:"detail,omitempty" doc:"What was wrong with this request and what to do."`
	Instance  string    `json:"instance,omitempty"`
	Code      string    `json:"code"`
	TraceID   string    `json:"trace_id,omitempty"`
	Retryable bool      `json:"retryable" doc:"The same request may succeed later."`
	Errors    []Invalid `json:"errors,omitempty"`
}

// Invalid is one fault of a request.
type Invalid struct {
	Detail  string `json:"detail"`
	Pointer string `json:"pointer" doc:"JSON pointer into the request body."`
}

// ProblemPage is what a code means: of a refusal, of a task's error, or of both.
type ProblemPage struct {
	Code      string `json:"code"`
	Title     string `json:"title"`
	Status    int    `json:"status,omitempty" doc:"Of the refusal."`
	Retryable bool   `json:"retryable" doc:"The same request may succeed later."`
	Fault     string `json:"fault,omitempty" enum:"agent,client,mesh" doc:"Of a task's error: who must look."`
}

// ProblemList is the answer of GET /problems.
type ProblemList struct {
	Problems []ProblemPage `json:"problems" doc:"In the order of their codes."`
}
