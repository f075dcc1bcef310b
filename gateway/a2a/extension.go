package a2a

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// The extensions of the protocol that every agent has.
const (
	// SchemaExtension has the schema of the agent's input on its card.
	SchemaExtension = "urn:agentmesh:input-schema:1"
	// DedupeExtension has the messageId find an earlier task, as an Idempotency-Key does.
	DedupeExtension = "urn:agentmesh:dedupe:1"
)

const (
	headerExtensions    = "A2A-Extensions"
	headerOldExtensions = "X-A2A-Extensions" // of 0.3
)

// extensions reads which extensions the client opts in to, says which of them are
// applied, and refuses a request without one that is required.
func (x *exchange) extensions() error {
	var named []string
	header := headerExtensions
	if x.reply.old != nil {
		header = headerOldExtensions
	}
	for _, line := range x.r.Header.Values(header) {
		for uri := range strings.SplitSeq(line, ",") {
			if uri = strings.TrimSpace(uri); uri != "" {
				named = append(named, uri)
			}
		}
	}
	var applied []string
	for _, uri := range append([]string{SchemaExtension, DedupeExtension}, x.cfg.Required...) {
		if slices.Contains(named, uri) {
			applied = append(applied, uri)
		}
	}
	if len(applied) > 0 {
		x.reply.w.Header().Set(header, strings.Join(applied, ", "))
	}
	x.dedupe = slices.Contains(applied, DedupeExtension)
	for _, uri := range x.cfg.Required {
		if !slices.Contains(named, uri) {
			return refuse(a2a.ErrExtensionSupportRequired, "", "The agent needs the extension "+uri+": send it in the header "+header+".")
		}
	}
	return nil
}

// known has a message find its earlier task by its id, where the client wants that and
// has sent no key.
func (x *exchange) known(m *message) {
	const header = "Idempotency-Key"
	if x.dedupe && x.r.Header.Get(header) == "" {
		sum := sha256.Sum256([]byte(x.agent + "\n" + m.ID))
		x.r.Header.Set(header, "a2a-"+hex.EncodeToString(sum[:]))
	}
}

// extensionsOf are those on a card. schema is that of the agent's input, nil: any.
func (f *Face) extensionsOf(schema any) (all []a2a.AgentExtension) {
	if schema != nil {
		all = append(all, a2a.AgentExtension{URI: SchemaExtension, Description: "The JSON Schema of the data part of a message.", Params: map[string]any{"schema": schema}})
	}
	all = append(all, a2a.AgentExtension{URI: DedupeExtension, Description: "A message with the messageId of an earlier one finds its task."})
	for _, uri := range f.cfg.Required {
		all = append(all, a2a.AgentExtension{URI: uri, Required: true})
	}
	return all
}
