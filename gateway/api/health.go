package api

// Readiness is the answer of /readyz: every check, and whether all passed.
type Readiness struct {
	Ready      bool             `json:"ready"`
	Checks     map[string]Check `json:"checks"`
	Durability string           `json:"durability,omitempty" doc:"What an accepted task survives."`
}

// Check is one check of /readyz.
type Check struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Version is the answer of GET /version.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	NATS    string `json:"nats,omitempty" doc:"Of the server that the gateway is connected to."`
}
