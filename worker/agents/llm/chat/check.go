package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Check tries whether the endpoint answers and takes the key, by its list of models:
// nothing is generated. A server that has no such list is reached nevertheless.
func (c *Client) Check(ctx context.Context) (note string, err error) {
	req, err := c.request(ctx, http.MethodGet, "/models", nil)
	if err != nil {
		return "", errors.New("base_url is no address")
	}
	resp, err := c.http.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL
	}
	if err != nil {
		return "", fmt.Errorf("it does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	switch code := resp.StatusCode; {
	case err != nil:
		return "", fmt.Errorf("its answer broke off: %w", err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return "", fmt.Errorf("it answers %s: see api_key and headers", resp.Status)
	case code >= 300 && code < 400:
		return "", fmt.Errorf("it answers %s, and redirects are not followed", resp.Status)
	case code >= 500:
		return "", fmt.Errorf("it answers %s", resp.Status)
	case code != http.StatusOK:
		return fmt.Sprintf("it answers, and has no list of models (%s)", resp.Status), nil
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if json.Unmarshal(raw, &list) != nil || len(list.Data) == 0 {
		return "it answers, and has no list of models", nil
	}
	for _, m := range list.Data {
		if m.ID == c.cfg.Model || strings.TrimSuffix(m.ID, ":latest") == c.cfg.Model {
			return "it has the model " + c.cfg.Model, nil
		}
	}
	return fmt.Sprintf("it answers, and the model %s is not among the %d that it lists", c.cfg.Model, len(list.Data)), nil
}
