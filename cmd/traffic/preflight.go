package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"tyk_proxy/middleware"
)

const (
	// readyTimeout is longer than the gateway's check of Redis takes.
	readyTimeout = 3 * time.Second
	// probeTimeout limits the check of a service that is linked to.
	probeTimeout = time.Second
)

// ready returns one clear error if no gateway is ready, before hundreds of
// requests fail.
func ready(ctx context.Context, s settings) error {
	target := s.gateway + "/ready"
	status, err := get(ctx, target, readyTimeout)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", readyTimeout)
	case err == nil && status != http.StatusOK:
		err = fmt.Errorf("answered %d %s", status, http.StatusText(status))
	}
	if err != nil {
		return fmt.Errorf("no gateway is ready (-gateway): GET %s: %w: start one with make run or make up", target, err)
	}
	return nil
}

// running reports whether a server answers, with any status.
func running(ctx context.Context, target string) bool {
	_, err := get(ctx, target, probeTimeout)
	return err == nil
}

// get sends one request. Its error does not contain the URL, which callers
// add.
func get(ctx context.Context, target string, timeout time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, err
	}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		// A redirect can lead to another host. The answer itself is enough.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody)) // only the status is needed
	return response.StatusCode, nil
}

// mismatch explains the first answer, to a valid token, if all other answers
// would be wrong too.
func (t *tally) mismatch(s settings) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.results[0]
	switch {
	case first.Reasons[middleware.SignatureInvalid.String()] > 0:
		return fmt.Errorf("%s answers signature_invalid: -secret is not this gateway's application.token.jwt_secret", s.gateway)
	case first.Reasons[middleware.TokenUnknown.String()] > 0:
		return fmt.Errorf("%s answers token_unknown: -redis %s is not this gateway's Redis", s.gateway, s.redis)
	}
	return nil
}
