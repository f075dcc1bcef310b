package history

import (
	"encoding/json"
	"net/http"
	"strings"
)

// OfHTTP is what an HTTP answer to an operation says. One that did not come, and one
// that says that the mesh does not know, tells nothing.
func OfHTTP(op Kind, status int, body []byte, err error) Told {
	var got struct {
		TaskID   string          `json:"task_id"`
		ActionID string          `json:"action_id"`
		Status   string          `json:"status"`
		Attempt  int             `json:"attempt"`
		Percent  int             `json:"progress_percent"`
		Result   json.RawMessage `json:"result"`
		Error    json.RawMessage `json:"error"`
	}
	switch {
	case err != nil || status >= 500 || status == http.StatusTooManyRequests:
		return Told{Verdict: Unknown}
	case status == http.StatusNotFound:
		return Told{Verdict: Absent}
	case status == http.StatusConflict && op == Create: // the first answer to its key is on its way
		return Told{Verdict: Unknown}
	case status == http.StatusConflict:
		return Told{Verdict: Refused}
	case status >= 400 || json.Unmarshal(body, &got) != nil:
		return Told{Verdict: Refused}
	}
	told := Told{Verdict: Done, ID: got.TaskID + got.ActionID}
	told.State = State{Status: strings.Replace(got.Status, "initiated", "pending", 1), Attempt: got.Attempt}
	switch told.Status {
	case "processing":
		told.Percent = got.Percent
	case "completed", "failed", "canceled":
		told.Outcome = string(got.Result) + string(got.Error)
		told.Said = said(got.Result)
	}
	return told
}

// said is the answer that a result repeats, as agents of histories do.
func said(result []byte) string {
	var got struct {
		Said string `json:"said"`
	}
	if json.Unmarshal(result, &got) != nil {
		return ""
	}
	return got.Said
}
