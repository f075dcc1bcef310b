package a2a_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// takesBack says something, and then something else in its place.
func takesBack(ctx context.Context, job *agent.Job) (any, error) {
	for i, text := range []string{"abc", "aXY", "aXYZ"} {
		job.OutputAt(0, text)
		if err := job.Milestone(ctx, string('1'+rune(i)), "", nil); err != nil {
			return nil, err
		}
	}
	return "done", nil
}

func TestAReaderOfAStreamHasNoOutputThatTheAgentHasTakenBack(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("takes", takesBack))
	view := ""
	for line := range strings.Lines(rpc(m, "takes", "SendStreamingMessage", text("x")).Body.String()) {
		data, ok := strings.CutPrefix(line, "data: ")
		var e struct {
			Result struct {
				ArtifactUpdate struct {
					Append, LastChunk bool
					Artifact          struct {
						ArtifactID string
						Parts      []struct{ Text string }
					}
				}
			}
		}
		if !ok || json.Unmarshal([]byte(data), &e) != nil {
			continue
		}
		switch u := e.Result.ArtifactUpdate; {
		case u.Artifact.ArtifactID != "output" || u.LastChunk:
		case u.Append:
			view += u.Artifact.Parts[0].Text
		default:
			view = u.Artifact.Parts[0].Text
		}
	}
	if view != "aXYZ" {
		t.Errorf("the reader has %q, before it is told the whole", view)
	}
}
