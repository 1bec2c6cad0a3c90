package middleware

import "testing"

// What an error quotes is left out, except for the command that Redis refused.
func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"NOSCRIPT No matching script.": "NOSCRIPT No matching script.",

		"NOPERM this user has no permissions to run the 'set' command": "NOPERM this user has no permissions to run the set command",
		"store unavailable: NOPERM User gw has no permissions to run the 'client|tracking' command": "store unavailable: " +
			"NOPERM User gw has no permissions to run the client|tracking command",
		"ERR unknown command 'getrange', with args beginning with: 'a' '0' ": "ERR unknown command getrange, with args beginning with: …",
		"ERR unknown command `EVALSHA`, with args beginning with: `a`, ":     "ERR unknown command EVALSHA, with args beginning with: …",
		"ERR unknown command 'GETRANGE'":                                     "ERR unknown command GETRANGE",

		"NOPERM User gw has no permissions to access the 'token:abc' key": "NOPERM User gw has no permissions to access the …",
		"NOPERM User gw has no permissions to run the 'set' key":          "NOPERM User gw has no permissions to run the …",
		"ERR unknown subcommand 'token:abc'. Try CLIENT HELP.":            "ERR unknown subcommand …",
		"ERR unknown command 'token:abc', with args beginning with: ":     "ERR unknown command …",
		"ERR unknown command 'abcdefghijklmnopqrstuvwxyz0123456789'":      "ERR unknown command …",
		"ERR unknown command 'get":                                        "ERR unknown command …",
		"ERR unknown command ''":                                          "ERR unknown command …",
		`malformed HTTP response "ERR unknown command 'abc'"`:             "malformed HTTP response …",
		"net/http: NOPERM to run the \"abc\"":                             "net/http: NOPERM to run the …",
		"\xff":                                                            "\uFFFD",
	} {
		if got := Redact(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
		if got := Redact(want); got != want {
			t.Errorf("a second Redact makes %s of %s", got, want)
		}
	}
}
