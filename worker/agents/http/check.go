package http

import (
	"context"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/url"
)

// Check tries whether the service answers, by a request that starts nothing
// (HEAD, with the agent's headers). It returns the status of the answer; the
// error says why none came, or that the answer shows a fault of the settings.
func (c Config) Check(ctx context.Context) (status string, err error) {
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodHead, c.URL, nil)
	if err != nil {
		return "", errors.New("its url is no address")
	}
	for k, v := range c.Headers {
		req.Header.Set(k, v)
	}
	client := &nethttp.Client{CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }}
	resp, err := client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		return "", fmt.Errorf("it does not answer: %w", failed.Err) // without the URL, which may hold a key
	}
	if err != nil {
		return "", fmt.Errorf("it does not answer: %w", err)
	}
	_ = resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == nethttp.StatusUnauthorized, code == nethttp.StatusForbidden:
		return "", fmt.Errorf("it answers %s: see headers", resp.Status)
	case code >= 300 && code < 400:
		return "", fmt.Errorf("it answers %s, and redirects are not followed: write the address %s", resp.Status, resp.Header.Get("Location"))
	case code == nethttp.StatusBadGateway, code == nethttp.StatusServiceUnavailable, code == nethttp.StatusGatewayTimeout:
		return "", fmt.Errorf("it answers %s", resp.Status)
	}
	return resp.Status, nil // it need not know HEAD
}
