package main

import (
	"fmt"
	"io"
	"net/http"
)

// preflight asks each variant once, so that no figure is that of a server which
// refuses what it should allow.
func (l *lab) preflight(v *variant) error {
	status, body, err := l.ask(v.server.addr, v.tokens.headers[0])
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("it answers %d: %s", status, body)
	}
	return nil
}

func (l *lab) ask(addr, authorization string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, "http://"+addr+testPath, http.NoBody)
	if err != nil {
		return 0, "", fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("asking: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return resp.StatusCode, string(text), err
}
